#include "pfc/base/file_kind.h"

#include <algorithm>
#include <cctype>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kBytesLookedAt = 4096;
constexpr std::size_t kBytesShown = 4;
constexpr std::size_t kTextShown = 40;
constexpr std::string_view kUnpack = "unpack it first";
constexpr std::string_view kBrokenDownload = "was its download or copy interrupted?";

/// A kind that begins with certain bytes.
struct Magic {
  std::size_t offset;
  std::string_view bytes;
  FileFormat format;
  std::string_view words;
  std::string_view advice = {};
};

constexpr Magic kMagics[] = {
    {0, "\xff\xd8\xff"sv, FileFormat::kImage, "a JPEG image"},
    {0, "\x89PNG\r\n\x1a\n"sv, FileFormat::kImage, "a PNG image"},
    {0, "GIF8"sv, FileFormat::kImage, "a GIF image"},
    {8, "WEBP"sv, FileFormat::kImage, "a WebP image"},
    {0, "II*\0"sv, FileFormat::kImage, "a TIFF image"},
    {0, "MM\0*"sv, FileFormat::kImage, "a TIFF image"},
    {4, "ftyphei"sv, FileFormat::kImage, "a HEIC image"},
    {4, "ftyphev"sv, FileFormat::kImage, "a HEIC image"},
    {4, "ftypmif1"sv, FileFormat::kImage, "a HEIC image"},
    {4, "ftypmsf1"sv, FileFormat::kImage, "a HEIC image"},
    {4, "ftypavi"sv, FileFormat::kImage, "an AVIF image"},
    {4, "jP  \r\n\x87\n"sv, FileFormat::kImage, "a JPEG 2000 image"},
    {0, "\xff\x4f\xff\x51"sv, FileFormat::kImage, "a JPEG 2000 image"},
    {4, "JXL \r\n\x87\n"sv, FileFormat::kImage, "a JPEG XL image"},
    {0, "\xff\x0a"sv, FileFormat::kImage, "a JPEG XL image"},
    {0, "8BPS"sv, FileFormat::kImage, "a Photoshop image"},
    {4, "ftyp"sv, FileFormat::kOther, "a video"},
    {0, "\x0a\x23\xd7\xce"sv, FileFormat::kRecords, "a .rec, MXNet's RecordIO"},
    {0, "\x93NUMPY"sv, FileFormat::kNpy, "a NumPy array, .npy"},
    {0, "\x12\x01\0\0\0\0\0\0"sv, FileFormat::kOther, "MXNet's parameters, .params"},
    {0, "\x89HDF\r\n\x1a\n"sv, FileFormat::kOther, "an HDF5 file, as Keras and MATLAB write them"},
    {0, "MATLAB 5.0 MAT-file"sv, FileFormat::kOther, "a MATLAB file"},
    {0, "ftrt"sv, FileFormat::kOther, "a TensorRT engine"},
    {0, "ptrt"sv, FileFormat::kOther, "a TensorRT engine"},
    {4, "TFL3"sv, FileFormat::kOther, "a TensorFlow Lite network"},
    {16, "\xde\xc0\xef\xbe"sv, FileFormat::kOther, "an LMDB database"},
    {0, "SQLite format 3"sv, FileFormat::kOther, "an SQLite database"},
    {0, "PAR1"sv, FileFormat::kOther, "a Parquet table"},
    {0, "ARROW1"sv, FileFormat::kOther, "an Arrow table"},
    {0, "%PDF"sv, FileFormat::kOther, "a PDF document"},
    {0,
     "\x7f"
     "ELF"sv,
     FileFormat::kOther, "a program or a library"},
    {0, "\x1f\x8b"sv, FileFormat::kOther, "a gzip archive", kUnpack},
    {0, "BZh"sv, FileFormat::kOther, "a bzip2 archive", kUnpack},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     FileFormat::kOther, "an xz archive", kUnpack},
    {0, "\x28\xb5\x2f\xfd"sv, FileFormat::kOther, "a zstd archive", kUnpack},
    {0, "\x04\x22\x4d\x18"sv, FileFormat::kOther, "an lz4 archive", kUnpack},
    {0, "7z\xbc\xaf\x27\x1c"sv, FileFormat::kOther, "a 7z archive", kUnpack},
    {0, "Rar!\x1a\x07"sv, FileFormat::kOther, "a RAR archive", kUnpack},
    {257, "ustar"sv, FileFormat::kOther, "a tar archive", kUnpack},
    {0, "PK\5\6"sv, FileFormat::kOther, "an empty zip archive"},
    {0, "\xff\xfe"sv, FileFormat::kOther, "a text in UTF-16", "save it in UTF-8"},
    {0, "\xfe\xff"sv, FileFormat::kOther, "a text in UTF-16", "save it in UTF-8"},
};

bool is_at(std::string_view begin, std::size_t offset, std::string_view bytes) {
  return begin.size() > offset && begin.substr(offset).starts_with(bytes);
}

FileKind make_kind(FileFormat format, std::string_view words, std::string_view advice = {}) {
  return {format, std::string(words), std::string(advice)};
}

/// Decided by the name of the first entry, which torch.save and numpy.savez choose.
FileKind zip_kind(std::string_view begin) {
  constexpr std::size_t kNameLength = 26, kName = 30;
  std::string_view name;
  if (begin.size() > kName) {
    const auto low = static_cast<unsigned char>(begin[kNameLength]);
    const auto high = static_cast<unsigned char>(begin[kNameLength + 1]);
    name = begin.substr(kName, low + 256u * high);
  }
  if (name.ends_with(".npy"))
    return make_kind(FileFormat::kOther, "a NumPy archive, .npz", kUnpack);
  const std::string_view inner = name.substr(std::min(name.find('/') + 1, name.size()));
  for (const std::string_view entry : {"data.pkl", "constants.pkl", "version", "data/0", "code/"}) {
    if (inner.starts_with(entry)) return make_kind(FileFormat::kTorch, "a PyTorch file");
  }
  return make_kind(FileFormat::kOther, "a zip archive", kUnpack);
}

/// Two letters are little evidence, so this also checks that the second header is shorter than 256
/// bytes.
bool is_bmp(std::string_view begin) {
  return begin.size() > 18 && begin.starts_with("BM") && begin.substr(15, 3) == "\0\0\0"sv;
}

bool is_safetensors(std::string_view begin) {
  constexpr std::size_t kLength = 8;  // bytes of the header's length, which is below 2^32
  return begin.size() > kLength && begin[kLength] == '{' && begin.substr(4, 4) == "\0\0\0\0"sv;
}

/// A protocol buffer whose first field is the version of the format.
bool is_onnx(std::string_view begin) {
  if (begin.size() < 3 || begin[0] != '\x08' || begin[1] < 1 || begin[1] > 32) return false;
  constexpr std::string_view kOtherFields = "\x12\x1a\x22\x28\x32\x3a\x42\x72"sv;
  return kOtherFields.find(begin[2]) != kOtherFields.npos;
}

/// torch.save before 1.6 pickles this first, in any protocol.
bool is_old_torch(std::string_view begin) {
  constexpr std::string_view kNumber = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv;
  const std::size_t place = begin.find(kNumber);
  return begin.starts_with('\x80') && (place == 2 || place == 11);
}

/// A pickle of Python's protocols 0 and 1, which may be text: it begins with a container, a class
/// or a number, and ends with a full stop.
bool is_old_pickle(std::string_view begin, char last) {
  if (last != '.' || begin.size() < 2) return false;
  const auto second = static_cast<unsigned char>(begin[1]);
  switch (begin.front()) {
    case '(':
    case ']':
    case '}':
      return begin.substr(1, 3) != "\xb5\x2f\xfd"sv;  // zstd
    case 'c':
      return begin.find('\n') < begin.find_first_of(" \t,");
    case 'I':
    case 'L':
    case 'F':
    case 'N':
      return std::isalpha(second) == 0 && second != ' ';
    default:
      return false;
  }
}

/// Text has no control characters, in UTF-8 and in older encodings (Latin-1, GBK).
bool has_control_characters(std::string_view begin) {
  return std::ranges::any_of(begin, [](unsigned char c) {
    return c < ' ' ? (c != '\t' && c != '\n' && c != '\r' && c != '\f') : c == 0x7f;
  });
}

/// UTF-8 without control characters. The last character may be cut off.
bool is_utf8_text(std::string_view begin) {
  if (has_control_characters(begin)) return false;
  for (std::size_t i = 0; i < begin.size();) {
    const auto c = static_cast<unsigned char>(begin[i++]);
    if (c >= 0x80 && (c < 0xc2 || c > 0xf4)) return false;
    const std::size_t more = c < 0x80 ? 0 : (c < 0xe0 ? 1 : (c < 0xf0 ? 2 : 3));
    for (std::size_t k = 0; k < more && i < begin.size(); ++k, ++i) {
      if ((static_cast<unsigned char>(begin[i]) & 0xc0) != 0x80) return false;
    }
  }
  return true;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

FileKind text_kind(std::string_view begin) {
  if (begin.starts_with("\xef\xbb\xbf")) begin.remove_prefix(3);
  begin.remove_prefix(std::min(begin.find_first_not_of(" \t\r\n"), begin.size()));
  const std::string start = lower_case(begin.substr(0, kTextShown));
  if (start.starts_with("<!doctype html") || start.starts_with("<html")) {
    return make_kind(FileFormat::kOther, "an HTML page",
                     "a download that needs a login or a confirmation gives a page in place of the "
                     "file; download it again");
  }
  if (begin.starts_with("version https://git-lfs.github.com/spec/")) {
    return make_kind(FileFormat::kOther, "a pointer of Git LFS in place of the file",
                     "fetch the file itself with `git lfs pull`");
  }
  if (begin.starts_with("7767517\n")) return make_kind(FileFormat::kOther, "an ncnn network");
  if (start.starts_with("<?xml")) return make_kind(FileFormat::kOther, "an XML file");
  if (begin.starts_with('{') && begin.find("\"arg_nodes\"") != begin.npos)
    return make_kind(FileFormat::kText, "an MXNet network's graph, -symbol.json");
  if (begin.starts_with('{') && begin.find("\"nodes\"") != begin.npos)
    return make_kind(FileFormat::kText, "an MXNet network's graph, -symbol.json");
  if (begin.starts_with("{\"") || begin.starts_with("{\n") || begin.starts_with("[{") ||
      begin.starts_with("[\""))
    return make_kind(FileFormat::kText, "a JSON file");
  const std::string_view line = begin.substr(0, std::min(begin.find('\n'), kTextShown));
  return make_kind(FileFormat::kText, "a text that begins \"" + printable(line) + "\"");
}

std::string begin_in_hex(std::string_view begin) {
  std::string text;
  for (const char c : begin.substr(0, kBytesShown))
    text += format("%s%02x", text.empty() ? "" : " ", static_cast<unsigned>(c) & 0xff);
  return text;
}

}  // namespace

FileKind recognise_file(std::span<const std::byte> bytes) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string_view begin = all.substr(0, kBytesLookedAt);
  if (begin.empty()) return make_kind(FileFormat::kOther, "an empty file", kBrokenDownload);
  if (is_safetensors(begin)) return make_kind(FileFormat::kSafetensors, "a safetensors file");
  if (is_old_pickle(begin, all.back()))
    return make_kind(FileFormat::kPickle, "a Python pickle, as verification sets are");
  if (is_utf8_text(begin))
    return text_kind(begin);  // a list's first name may look like any archive's magic
  for (const Magic& magic : kMagics) {
    if (is_at(begin, magic.offset, magic.bytes))
      return make_kind(magic.format, magic.words, magic.advice);
  }
  if (is_bmp(begin)) return make_kind(FileFormat::kImage, "a BMP image");
  if (begin.starts_with("PK\3\4")) return zip_kind(begin);
  if (is_old_torch(begin)) return make_kind(FileFormat::kOldTorch, "a PyTorch file of before 1.6");
  if (begin[0] == '\x80' && begin.size() > 1 && begin[1] <= 5)
    return make_kind(FileFormat::kPickle, "a Python pickle, as verification sets are");
  if (is_onnx(begin)) return make_kind(FileFormat::kOnnx, "an ONNX network");
  if (std::ranges::all_of(begin, [](char c) { return c == '\0'; }))
    return make_kind(FileFormat::kOther, "zeros", kBrokenDownload);
  return make_kind(FileFormat::kUnknown, "bytes of an unknown kind, " + begin_in_hex(begin));
}

void refuse_kind(std::string_view file, std::span<const std::byte> bytes, std::string_view wanted) {
  const FileKind kind = recognise_file(bytes);
  throw DataError(file, "offset 0",
                  "found " + kind.words + ", want " + std::string(wanted) +
                      (kind.advice.empty() ? "" : ": " + kind.advice));
}

void require_text(std::string_view file, std::span<const std::byte> bytes,
                  std::string_view wanted) {
  const std::string_view begin =
      std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())
          .substr(0, kBytesLookedAt);
  // The same in another encoding: there, too, a list's first name may look like an archive's magic.
  const bool begins_in_ascii = !begin.empty() && static_cast<unsigned char>(begin[0]) < 0x80;
  if (begins_in_ascii && !has_control_characters(begin) && !is_utf8_text(begin)) return;
  const FileFormat format = recognise_file(bytes).format;
  const bool may_be_text = format == FileFormat::kText || format == FileFormat::kPickle ||
                           format == FileFormat::kUnknown || bytes.empty();
  if (!may_be_text) refuse_kind(file, bytes, wanted);
}

}  // namespace pfc
