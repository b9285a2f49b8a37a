#include "pfc/export/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "pfc/base/error.h"
#include "python.h"
#include "temporary_folder.h"
#include "torch_archives.h"

namespace pfc {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Bytes = std::vector<std::byte>;

Bytes read_all(const TensorStream& tensor) {
  Bytes all;
  tensor.read(
      [&](std::span<const std::byte> piece) { all.insert(all.end(), piece.begin(), piece.end()); });
  return all;
}

/// The int32 values of a tensor of four-byte elements.
std::vector<std::int32_t> ints(const TensorStream& tensor) {
  const Bytes bytes = read_all(tensor);
  std::vector<std::int32_t> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// `name F32 [2, 3] 0a0b…`
std::string describe(const TensorStream& tensor) {
  std::string text = tensor.name + " " + tensor.dtype + " " + shape_text(tensor.shape) + " ";
  for (const std::byte byte : read_all(tensor)) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += {kDigits[std::to_integer<int>(byte) >> 4], kDigits[std::to_integer<int>(byte) & 15]};
  }
  return text + "\n";
}

std::string describe(const std::vector<TensorStream>& tensors) {
  std::string text;
  for (const TensorStream& tensor : tensors) text += describe(tensor);
  return text;
}

/// Reads everything that a file holds; the error's sentence where it is refused.
std::string error_of(const Bytes& file) {
  try {
    const TorchFile torch = TorchFile::parse("t.pth", file);
    if (const auto tensor = torch.tensor()) read_all(*tensor);
    for (const TensorStream& tensor : torch.tensors()) read_all(tensor);
    for (const std::string& key : torch.keys()) {
      for (const TensorStream& tensor : torch.tensors(key)) read_all(tensor);
    }
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

std::string error_of_pickle(const std::string& pickle) {
  return error_of(zip_archive(torch_entries(pickle)));
}

std::string error_of_tensor(const PickledTensor& tensor) {
  return error_of_pickle(tensor.text() + ".");
}

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

Bytes contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return bytes_of(std::string(std::istreambuf_iterator<char>(in), {}));
}

// By real PyTorch

/// Saves with torch.save in a Python program, which has a function show(dict) that prints its
/// tensors as `describe` does; what it prints is given to `check` with the folder.
class SavedByPyTorch : public testing::Test {
 protected:
  void SetUp() override {
    if (!python_) GTEST_SKIP() << python_.why_not();
  }
  std::string run(const std::string& program) const {
    return python_.run(R"(
import collections, sys, torch
folder = sys.argv[1] + '/'
torch.manual_seed(1)
names = {torch.float64: 'F64', torch.float32: 'F32', torch.float16: 'F16', torch.bfloat16: 'BF16',
         torch.int64: 'I64', torch.int32: 'I32', torch.int16: 'I16', torch.int8: 'I8',
         torch.uint8: 'U8', torch.bool: 'BOOL'}
def show(tensors):
    for name, t in tensors.items():
        flat = t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        print(name, names[t.dtype], list(t.shape), flat.hex())
)" + program,
                       folder_.path());
  }
  TorchFile open(const std::string& name) const { return TorchFile::open(folder_ / name); }

  Python python_{"torch"};
  TemporaryFolder folder_;
};

TEST_F(SavedByPyTorch, EveryTypeIsReadExactly) {
  const std::string want = run(R"(
d = {n: (torch.randn(3, 5) * 50).to(t) for t, n in names.items()}
torch.save(d, folder + 'types.pth'); show(d)
for protocol in (3, 4, 5): torch.save(d, folder + f'types{protocol}.pth', pickle_protocol=protocol)
)");
  EXPECT_EQ(describe(open("types.pth").tensors()), want);
  for (const std::string protocol : {"3", "4", "5"}) {
    EXPECT_EQ(describe(open("types" + protocol + ".pth").tensors()), want) << protocol;
  }
}

TEST_F(SavedByPyTorch, StridesAreFollowed) {
  const std::string want = run(R"(
base = torch.randn(6, 8)
d = collections.OrderedDict(
    channels_last=torch.randn(4, 3, 2, 5).to(memory_format=torch.channels_last),
    transposed=base.t(), row=base[2], column=base[:, 3], part=base[1:4, 2:7], same=base,
    scalar=torch.tensor(3.5), empty=torch.zeros(0, 4), none=torch.zeros(3, 0), one=base[:1, :1])
torch.save(d, folder + 'strides.pth'); show(d)
)");
  EXPECT_EQ(describe(open("strides.pth").tensors()), want);
}

TEST_F(SavedByPyTorch, AStateDictOfAModuleIsReadWithItsParametersAndVersions) {
  const std::string want = run(R"(
m = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
torch.save(m.state_dict(), folder + 'module.pth'); show(m.state_dict())
torch.save(dict(m.named_parameters()), folder + 'parameters.pth')
)");
  EXPECT_EQ(describe(open("module.pth").tensors()), want);
  EXPECT_THAT(open("parameters.pth").tensors(), SizeIs(4));
}

TEST_F(SavedByPyTorch, OtherValuesBesideTensorsArePassedOver) {
  const std::string want = run(R"(
m = torch.nn.Linear(3, 2)
o = torch.optim.AdamW(m.parameters()); m(torch.ones(1, 3)).sum().backward(); o.step()
s = torch.optim.lr_scheduler.StepLR(o, 3)
torch.save({'epoch': 3, 'loss': 1.5, 'name': 'r18 – Größe 图', 'done': None, 'ok': True,
            'big': 2**62, 'shape': torch.Size([2, 3]), 'list': [1, torch.ones(2)],
            'state_dict_backbone': m.state_dict(), 'state_optimizer': o.state_dict(),
            'state_lr_scheduler': s.state_dict()}, folder + 'checkpoint.pt')
show(m.state_dict())
)");
  const TorchFile file = open("checkpoint.pt");
  EXPECT_EQ(describe(file.tensors("state_dict_backbone")), want);
  EXPECT_THAT(file.tensors(), IsEmpty());
  EXPECT_THAT(file.tensors("absent"), IsEmpty());
  EXPECT_THAT(file.keys(), testing::Contains("state_optimizer"));
  EXPECT_FALSE(file.tensor());
}

TEST_F(SavedByPyTorch, AFileMayBeOneTensor) {
  const std::string want = run(R"(
t = torch.randn(7, 3); torch.save(t, folder + 'tensor.pt'); show({'': t})
)");
  const auto tensor = open("tensor.pt").tensor();
  ASSERT_TRUE(tensor);
  EXPECT_EQ(describe(*tensor), want);  // the file object is gone
}

TEST_F(SavedByPyTorch, EveryTruncationIsADataError) {
  run("torch.save({'a': torch.ones(2, 2), 'b': torch.zeros(3)}, folder + 'whole.pth')");
  const Bytes whole = contents(folder_ / "whole.pth");
  EXPECT_EQ(error_of(whole), "");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}), "")
        << size;
  }
}

TEST_F(SavedByPyTorch, FilesOfOtherKindsAreRefusedWithHowToConvertThem) {
  run(R"(
m = torch.nn.Linear(3, 2)
torch.save(m.state_dict(), folder + 'old.pth', _use_new_zipfile_serialization=False)
torch.jit.script(m).save(folder + 'script.pt')
torch.save(m, folder + 'whole_model.pth')
)");
  EXPECT_THAT([&] { open("old.pth"); },
              testing::Throws<DataError>(testing::Property(
                  &DataError::what, HasSubstr("in PyTorch's format of before 1.6; convert it"))));
  EXPECT_THAT([&] { open("script.pt"); },
              testing::Throws<DataError>(
                  testing::Property(&DataError::what, HasSubstr("a TorchScript program"))));
  EXPECT_THAT([&] { open("whole_model.pth"); },
              testing::Throws<DataError>(testing::Property(
                  &DataError::what, HasSubstr("global torch.nn.modules.linear.Linear is not "
                                              "allowed in a PyTorch file of tensors"))));
}

// Made here, damaged and malicious

TEST(TorchFile, ReadsATensorByItsShapeOffsetAndStrides) {
  const auto file = zip_archive(torch_entries(PickledTensor{}.text() + "."));
  const auto tensor = TorchFile::parse("t", file).tensor();
  ASSERT_TRUE(tensor);
  EXPECT_THAT(ints(*tensor), ElementsAre(0, 1, 2, 3, 4, 5));
  PickledTensor column{.offset = "K\1", .shape = "K\2K\1", .strides = "K\3K\1"};
  const auto other = zip_archive(torch_entries(column.text() + "."));
  EXPECT_THAT(ints(*TorchFile::parse("t", other).tensor()), ElementsAre(1, 4));
}

TEST(TorchFile, OtherGlobalsAreRefusedByName) {
  EXPECT_EQ(error_of_pickle("cos\nsystem\n(S'true'\ntR."),
            "t.pth: data.pkl: offset 0: global os.system is not allowed in a PyTorch file of "
            "tensors");
  EXPECT_THAT(error_of_pickle("ctorch\nload\n."), HasSubstr("torch.load"));
  EXPECT_THAT(error_of_pickle("c_codecs\nencode\n."), HasSubstr("_codecs.encode"));
}

TEST(TorchFile, CompressedEntriesAreRefusedBeforeTheyAreInflated) {
  auto entries = torch_entries(PickledTensor{.size = "J\0\0\0\1"s}.text() + ".");
  entries[2].second.assign(64 << 20, '\0');
  const Bytes bomb = zip_archive(entries, /*compressed=*/true);
  EXPECT_LT(bomb.size(), 1 << 20);
  EXPECT_EQ(error_of(bomb),
            "t.pth: entry file/byteorder: compressed, want bytes as they are, as torch.save "
            "writes them");
}

TEST(TorchFile, TensorsLieWithinTheirStorage) {
  EXPECT_EQ(error_of_tensor({.shape = "K\3K\3"}),
            "t.pth: data.pkl: offset 93: a tensor of shape [3, 3] and strides [3, 1] from element "
            "0 on, in a storage of 6 elements");
  EXPECT_THAT(error_of_tensor({.offset = "K\1"}), HasSubstr("from element 1 on"));
  EXPECT_THAT(error_of_tensor({
                  .shape = "K\0K\2"s,
                  .strides = "K\1K\1",
              }),
              testing::IsEmpty());
  EXPECT_THAT(error_of_tensor({.offset = "K\7", .shape = "K\0"s, .strides = "K\1"}),
              HasSubstr("from element 7 on"));
  EXPECT_THAT(error_of_tensor({.shape = "K\2", .strides = "K\1K\1"}),
              HasSubstr("shape [2] and strides [1, 1]"));
  EXPECT_THAT(error_of_tensor({.shape = "J\xff\xff\xff\xff"
                                        "K\1"}),
              HasSubstr("the shape of a tensor: found -1, want at least 0"));
  EXPECT_THAT(error_of_tensor({.strides = "J\xff\xff\xff\xff"
                                          "K\1"}),
              HasSubstr("the strides of a tensor: found -1"));
}

TEST(TorchFile, SizesBeyondEveryNumberAreErrors) {
  const std::string huge = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"s;  // 2^63 - 1
  EXPECT_THAT(error_of_tensor({.shape = "K\3" + huge, .strides = huge + "K\1"}),
              HasSubstr("in a storage of 6 elements"));
  EXPECT_THAT(error_of_tensor({.offset = huge, .shape = "K\2", .strides = huge}),
              HasSubstr("in a storage of 6 elements"));
  EXPECT_THAT(error_of_tensor({.size = huge}), HasSubstr("storage 0: found 24 bytes, want 9223"));
  EXPECT_THAT(error_of_tensor({.shape = huge + huge, .strides = "K\0K\0"s}),
              HasSubstr("that repeats the elements of a storage of 6"));
  // Strides over which no step is ever made.
  EXPECT_THAT(error_of_tensor({.shape = "K\1K\6K\1", .strides = huge + "K\1" + huge}), IsEmpty());
}

TEST(TorchFile, ElementsThatRepeatAreRefused) {
  EXPECT_THAT(error_of_tensor({.shape = "M\xff\xff", .strides = "K\0"s}),
              HasSubstr("a tensor of shape [65535] that repeats the elements of a storage of 6"));
}

TEST(TorchFile, StoragesHaveTheSizeThatThePickleSays) {
  EXPECT_EQ(error_of_tensor({.size = "K\7"}),
            "t.pth: storage 0: found 24 bytes, want 7 elements of F32");
  EXPECT_EQ(error_of_tensor({.type = "Double"}),
            "t.pth: storage 0: found 24 bytes, want 6 elements of F64");
  EXPECT_EQ(error_of_tensor({.storage = "1"}), "t.pth: storage 1: missing");
  EXPECT_THAT(error_of_tensor({.storage = "../version"}), HasSubstr("missing"));
}

TEST(TorchFile, ChangedNumbersDoNotMatchTheirChecksum) {
  auto file = zip_archive(torch_entries(PickledTensor{}.text() + "."));
  const auto wanted = bytes_of("\1\0\0\0\2\0\0\0\3"s);
  const auto numbers = std::search(file.begin(), file.end(), wanted.begin(), wanted.end());
  ASSERT_NE(numbers, file.end());
  *numbers = std::byte{9};
  EXPECT_THAT(error_of(file), HasSubstr("t.pth: entry file/data/0: cannot be read: CRC error"));
}

TEST(TorchFile, OtherArchivesAreRefused) {
  EXPECT_EQ(error_of(zip_archive({{"file/readme", "x"}})),
            "t.pth: data.pkl: missing: a zip archive, but none of torch.save");
  EXPECT_THAT(error_of(zip_archive({{"data", "x"}})), HasSubstr("data.pkl: missing"));
  auto entries = torch_entries(PickledTensor{}.text() + ".");
  entries[1].second = "big";
  EXPECT_EQ(error_of(zip_archive(entries)), "t.pth: byteorder: found 'big', want 'little'");
  entries[1] = {"file/code/__torch__.py", ""};
  EXPECT_THAT(error_of(zip_archive(entries)), HasSubstr("a TorchScript program"));
  EXPECT_EQ(error_of({}),
            "t.pth: offset 0: found an empty file, want the zip archive of torch.save, 50 4b 03 "
            "04");
  EXPECT_THAT(error_of(bytes_of("PK\3\4")), HasSubstr("is the file cut off?"));
  EXPECT_THAT(error_of(bytes_of("{}\n\n\n")), HasSubstr("found 7b 7d 0a 0a, want"));
  EXPECT_THAT(error_of(bytes_of(std::string(257, 'x') + "ustar")), HasSubstr("before 1.6"));
}

TEST(TorchFile, DamagedPicklesAreErrors) {
  const std::string tensor = PickledTensor{}.text();
  EXPECT_THAT(error_of_pickle("}(Va\n" + tensor + "Va\n" + tensor + "u."),
              HasSubstr("the name 'a' comes twice"));
  EXPECT_THAT(error_of_pickle("}(Va\nu."), HasSubstr("a key of a dict without its value"));
  EXPECT_THAT(error_of_pickle("](Va\nNu."), HasSubstr("an item for a list, want a dict"));
  EXPECT_THAT(error_of_pickle("NQ."), HasSubstr("found None, want a tuple"));
  EXPECT_THAT(error_of_pickle("(NNtQ."), HasSubstr("a malformed id of a storage"));
  EXPECT_THAT(error_of_pickle("ctorch\nFloatStorage\n)R."), HasSubstr("a call of a storage's"));
  EXPECT_THAT(error_of_pickle("ccollections\nOrderedDict\n(NtR."), HasSubstr("empty only"));
  EXPECT_THAT(error_of_pickle("ctorch._utils\n_rebuild_tensor_v2\n)R."),
              HasSubstr("a malformed tensor"));
  EXPECT_THAT(error_of_pickle("]Nb."), HasSubstr("a state for a list"));
  std::string ones;
  for (int i = 0; i < 65; ++i) ones += "K\1";
  EXPECT_THAT(error_of_tensor({.shape = ones, .strides = ones}), HasSubstr("65 dimensions"));
}

TEST(TorchFile, ADictThatHoldsItselfIsRead) {
  EXPECT_EQ(error_of_pickle("}q\0(Va\nh\0Vb\n"s + PickledTensor{}.text() + "u."), "");
}

TEST(TorchFile, IsToldByItsContent) {
  EXPECT_TRUE(is_torch_file(bytes_of("PK\3\4 and more")));
  EXPECT_TRUE(is_torch_file(bytes_of("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")));
  EXPECT_FALSE(is_torch_file(bytes_of("\x80\x02\0\0\0\0\0\0{\"a\""s)));  // a safetensors header
  EXPECT_FALSE(is_torch_file({}));
}

}  // namespace
}  // namespace pfc
