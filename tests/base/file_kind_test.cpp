#include "pfc/base/file_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "pfc/base/error.h"

namespace pfc {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

std::span<const std::byte> view_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string words_of(const std::string& bytes) {
  return recognise_file(view_of(bytes)).words;
}

/// The head of an entry of a zip archive.
std::string zip_entry(const std::string& name) {
  return "PK\3\4" + std::string(22, '\0') + static_cast<char>(name.size()) + "\0\0\0"s + name;
}

TEST(FileKind, EachKindIsToldByItsFirstBytes) {
  const std::pair<std::string, std::string> kinds[] = {
      {"", "an empty file"},
      {std::string(600, '\0'), "zeros"},
      {"\xff\xd8\xff\xe0", "a JPEG image"},
      {"\x89PNG\r\n\x1a\n", "a PNG image"},
      {"RIFF\1\2\3\4WEBPVP8 ", "a WebP image"},
      {"\0\0\0\x18"
       "ftypheic"s,
       "a HEIC image"},
      {"\0\0\0\x18"
       "ftypheix"s,
       "a HEIC image"},
      {"\0\0\0\x18"
       "ftyphevc"s,
       "a HEIC image"},
      {"\0\0\0\x18"
       "ftypmsf1"s,
       "a HEIC image"},
      {"\0\0\0\x18"
       "ftypavis"s,
       "an AVIF image"},
      {"\0\0\0\x0cjP  \r\n\x87\n"s, "a JPEG 2000 image"},
      {"\0\0\0\x0cJXL \r\n\x87\n"s, "a JPEG XL image"},
      {"8BPS\0\1"s, "a Photoshop image"},
      {"BM\x36\x93\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x70\0\0\0"s, "a BMP image"},
      {"\0\0\0\x18"
       "ftypisom"s,
       "a video"},
      {"\x0a\x23\xd7\xce", "a .rec, MXNet's RecordIO"},
      {"\x93NUMPY\1\0"s, "a NumPy array, .npy"},
      {"\x12\1\0\0\0\0\0\0\0\0"s, "MXNet's parameters, .params"},
      {"{\n  \"nodes\": [", "an MXNet network's graph, -symbol.json"},
      {"{\"a\": 1}", "a JSON file"},
      {"\x08\x06\x12\x07pytorch", "an ONNX network"},
      {"\x08\x0a:\x90\x01", "an ONNX network"},
      {"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and MATLAB write them"},
      {"ftrt\1\2", "a TensorRT engine"},
      {"\x1f\x8b\x08", "a gzip archive"},
      {"Rar!\x1a\x07\x01", "a RAR archive"},
      {"7z\xbc\xaf\x27\x1c", "a 7z archive"},
      {"a.pth" + std::string(252, '\0') + "ustar", "a tar archive"},
      {"PAR1/a.jpg 1\n", "a text that begins \"PAR1/a.jpg 1\""},  // not a Parquet table
      {"Gr\xc3\xb6\xc3\x9f\x65 1\n", "a text that begins \"Gr\xc3\xb6\xc3\x9f\x65 1\""},
      {"\xc4\xe3\xba\xc3 1\n", "bytes of an unknown kind, c4 e3 ba c3"},  // GBK
      {zip_entry("photos/a.jpg"), "a zip archive"},
      {zip_entry("arr_0.npy"), "a NumPy archive, .npz"},
      {zip_entry("backbone/data.pkl"), "a PyTorch file"},
      {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "a PyTorch file of before 1.6"},
      {"\x80\x04\x95\x0d\0\0\0\0\0\0\0\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s,
       "a PyTorch file of before 1.6"},
      {"\x80\x03]q\0"s, "a Python pickle, as verification sets are"},
      {"(lp0\nI01\naI00\na.", "a Python pickle, as verification sets are"},
      {"\x40\0\0\0\0\0\0\0{\"fc.bias\""s, "a safetensors file"},
      {"\x80\x02\0\0\0\0\0\0{\"a\""s, "a safetensors file"},  // begins as a pickle does
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
       "a pointer of Git LFS in place of the file"},
      {"\n<!DOCTYPE HTML><html>", "an HTML page"},
      {"\xef\xbb\xbf<html lang=\"en\">", "an HTML page"},
      {"\xff\xfe"
       "a\0\n\0"s,
       "a text in UTF-16"},
      {"n000001/0001.jpg\t3\n", "a text that begins \"n000001/0001.jpg?3\""},
      {"\x01\x02\x03\x04\x05", "bytes of an unknown kind, 01 02 03 04"},
  };
  for (const auto& [bytes, words] : kinds) EXPECT_EQ(words_of(bytes), words);
}

TEST(FileKind, AnErrorSaysWhatItIsWhatIsWantedAndWhatToDo) {
  const std::string gzip = "\x1f\x8b\x08";
  EXPECT_THAT([&] { refuse_kind("a.bin", view_of(gzip), "a verification set"); },
              testing::ThrowsMessage<DataError>(
                  "a.bin: offset 0: found a gzip archive, want a verification set: unpack it "
                  "first"));
}

TEST(FileKind, TextIsWhatCanBeRead) {
  const std::string text = "a b\r\n\tGr\xc3\xb6\xc3\x9f\x65\n", cut = "(1, 2).",
                    image = "\xff\xd8\xff\xe0", page = "<html>";
  EXPECT_NO_THROW(require_text("list", view_of(text), "a list"));
  EXPECT_NO_THROW(require_text("list", view_of(cut), "a list"));
  EXPECT_NO_THROW(require_text("list", {}, "a list"));
  for (const std::string& other : {image, page}) {
    EXPECT_THAT([&] { require_text("list", view_of(other), "a list"); },
                testing::ThrowsMessage<DataError>(HasSubstr(", want a list")));
  }
  const std::string latin = "ARROW1/caf\xe9.jpg 1\n";  // begins as an Arrow table does
  EXPECT_NO_THROW(require_text("a.lst", std::as_bytes(std::span(latin)), "a list"));
}

TEST(FileKind, EveryBeginOfAFileIsOfSomeKind) {
  const std::string file = zip_entry("backbone/data.pkl") + std::string(300, '\x80');
  for (std::size_t size = 0; size <= file.size(); ++size)
    EXPECT_NE(words_of(file.substr(0, size)), "");
}

}  // namespace
}  // namespace pfc
