#include "pfc/formats/torch_file.h"

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

/// Reads everything in a file. Returns the error's sentence if it is refused.
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

/// Saves with torch.save in a Python program. The program has a function show(dict) that prints
/// tensors as `describe` does. `check` gets what the program printed, and the folder.
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

TEST_F(SavedByPyTorch, ObjectsOfAnyClassBesideTensorsArePassedOver) {
  const std::string want = run(R"(
import argparse, datetime, enum, pathlib, numpy
class Size(enum.Enum): SMALL = 1
class Config(dict):
    def __init__(self, **items): super().__init__(items); self.__dict__ = self
class Ordered(collections.OrderedDict): pass
m = torch.nn.Linear(3, 2)
o = torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
m(torch.ones(1, 3)).sum().backward(); o.step()
s = torch.optim.lr_scheduler.MultiStepLR(o, [3, 5, 5])
kept = m.weight.detach().clone(); kept.note = 'an attribute'
other = {'scalar': numpy.float64(0.5), 'array': numpy.ones((2, 3)), 'args': argparse.Namespace(lr=0.1),
         'counter': collections.Counter('aab'), 'device': torch.device('cuda', 0),
         'dtype': torch.bfloat16, 'shape': torch.Size([2]), 'set': {1, 2}, 'frozen': frozenset('ab'),
         'enum': Size.SMALL, 'path': pathlib.Path('/x'), 'ordered': Ordered(a=1),
         'config': Config(a=Config(b=2)), 'time': datetime.datetime.now(), 'huge': 2**70,
         'default': collections.defaultdict(list, a=[1]), 'deque': collections.deque([1]),
         'complex': 1j, 'class': torch.nn.Linear, 'rng': torch.get_rng_state(),
         'seed': 2**63 + 5, 'slice': slice(1, 2), 'range': range(3), 'generator': torch.Generator().get_state()}
all = {**other, 'state_dict': {'weight': m.weight, 'bias': m.bias, 'note': kept},
       'state_optimizer': o.state_dict(), 'state_lr_scheduler': s.state_dict()}
for protocol in (2, 3, 4, 5):
    torch.save(all, folder + f'all{protocol}.pth', pickle_protocol=protocol)
    torch.save(all, folder + f'old{protocol}.pth', pickle_protocol=protocol,
               _use_new_zipfile_serialization=False)
show(all['state_dict'])
)");
  for (const std::string kind : {"all", "old"}) {
    for (const std::string protocol : {"2", "3", "4", "5"}) {
      SCOPED_TRACE(kind + protocol);
      EXPECT_EQ(describe(open(kind + protocol + ".pth").tensors("state_dict")), want);
    }
  }
}

TEST_F(SavedByPyTorch, TheFormatOfBefore16IsReadExactly) {
  const std::string want = run(R"(
base = torch.randn(6, 8)
d = {n: (torch.randn(3, 5) * 50).to(t) for t, n in names.items()}
d = {**d, 'transposed': base.t(), 'part': base[1:4, 2:7], 'same': base, 'empty': torch.zeros(0, 4)}
torch.save(d, folder + 'old.pth', _use_new_zipfile_serialization=False); show(d)
)");
  EXPECT_EQ(describe(open("old.pth").tensors()), want);
  const Bytes whole = contents(folder_ / "old.pth");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}), "")
        << size;
  }
}

TEST_F(SavedByPyTorch, AModuleThatWasSavedWholeIsItsStateDict) {
  const std::string want = run(R"(
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4))
        self.scale = torch.nn.Parameter(torch.ones(2))
m = Net()
torch.save(m, folder + 'whole.pth')
torch.save(m, folder + 'old.pth', _use_new_zipfile_serialization=False)
torch.save({'model': m}, folder + 'under_key.pth')
show(m.state_dict())
)");
  for (const std::string name : {"whole.pth", "old.pth"}) {
    const auto whole = open(name).dicts();
    ASSERT_THAT(whole, SizeIs(1)) << name;
    EXPECT_EQ(describe(whole[0].tensors), want) << name;
  }
  const auto inner = open("under_key.pth").dicts();
  ASSERT_THAT(inner, SizeIs(1));
  EXPECT_EQ(inner[0].path, "model");
  EXPECT_EQ(describe(inner[0].tensors), want);
}

TEST_F(SavedByPyTorch, TensorsThatAreNotReadAreNamed) {
  run(R"(
torch.save({'fc.weight': torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8),
            'few': torch.ones(2, 3).to_sparse(), 'wave': torch.ones(2, dtype=torch.complex64),
            'fc.bias': torch.ones(2)}, folder + 'odd.pth')
)");
  const auto dicts = open("odd.pth").dicts();
  ASSERT_THAT(dicts, SizeIs(1));
  EXPECT_THAT(dicts[0].tensors, SizeIs(1));
  EXPECT_THAT(dicts[0].unread,
              ElementsAre("fc.weight: quantised", "few: sparse", "wave: ComplexFloatStorage"));
}

TEST_F(SavedByPyTorch, ATorchScriptProgramIsRefusedWithHowToConvertIt) {
  run("torch.jit.script(torch.nn.Linear(3, 2)).save(folder + 'script.pt')");
  EXPECT_THAT([&] { open("script.pt"); },
              testing::Throws<DataError>(
                  testing::Property(&DataError::what, HasSubstr("a TorchScript program"))));
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

TEST(TorchFile, OtherGlobalsArePassedOverAndNeverCalled) {
  for (const std::string& pickle : {
           "cos\nsystem\n(S'false'\ntR."s,                                // a call
           "(S'false'\nios\nsystem\n."s,                                  // INST
           "(cos\nsystem\nS'false'\no."s,                                 // OBJ
           "cos\nsystem\n)\x81}b."s,                                      // NEWOBJ, and its state
           "cos\nsystem\n)}\x92."s,                                       // NEWOBJ_EX
           "cos\nsystem\n)R(Va\nNu."s,                                    // filled as a dict
           "cos\nsystem\n)R(NNe."s,                                       // and as a list
           "\x80\4\x8f(K\1K\2\x90."s,                                     // a set
           "\x80\4(K\1\x91."s,                                            // a frozen set
           "\x8a\x09\0\0\0\0\0\0\0\0\1."s, "L99999999999999999999L\n."s,  // beyond int64
           "N(N10202."s,                                                  // POP_MARK, POP, DUP
       }) {
    const auto file = zip_archive(torch_entries("}(Va\n" + PickledTensor{}.text() + "Vb\n" +
                                                pickle.substr(0, pickle.size() - 1) + "u."));
    const auto tensors = TorchFile::parse("t", file).tensors();
    ASSERT_THAT(tensors, SizeIs(1)) << pickle;
    EXPECT_THAT(ints(tensors[0]), ElementsAre(0, 1, 2, 3, 4, 5));
  }
  const auto only = zip_archive(torch_entries("cos\nsystem\n(S'false'\ntR."));
  EXPECT_EQ(TorchFile::parse("t", only).describe(), "an object of os.system");
  EXPECT_THAT(TorchFile::parse("t", only).dicts(), IsEmpty());
}

TEST(TorchFile, DictsAreFoundAtAnyDepthWithTheKeysThatLeadToThem) {
  const std::string tensor = PickledTensor{}.text();
  const auto file = zip_archive(torch_entries("(}Vepoch\nK\1sVnet\n}Vema\n}Va\n" + tensor +
                                              "sss}K\3}Vb\n" + tensor + "ssNt."));
  const auto dicts = TorchFile::parse("t", file).dicts();
  ASSERT_THAT(dicts, SizeIs(2));
  EXPECT_EQ(dicts[0].path, "1.3");
  EXPECT_EQ(dicts[1].path, "0.net.ema");
  EXPECT_EQ(dicts[1].tensors[0].name, "a");
}

TEST(TorchFile, AnOrderedDictOfPythons2IsAListOfPairs) {
  const std::string tensor = PickledTensor{}.text();
  const auto file = torch_file_before_1_6("ccollections\nOrderedDict\n(((Va\n" + tensor + "l(Vb\n" +
                                          tensor + "lltR}b.");
  const auto tensors = TorchFile::parse("t", bytes_of(file)).tensors();
  ASSERT_THAT(tensors, SizeIs(2));
  EXPECT_EQ(tensors[1].name, "b");
}

TEST(TorchFile, TheFormatOfBefore16IsCheckedAsTheArchiveIs) {
  const std::string file = torch_file_before_1_6(PickledTensor{}.text() + ".");
  const Bytes bytes = bytes_of(file);
  EXPECT_THAT(ints(*TorchFile::parse("t", bytes).tensor()), ElementsAre(0, 1, 2, 3, 4, 5));
  for (std::size_t size = 0; size < file.size(); ++size)
    EXPECT_NE(error_of(bytes_of(file.substr(0, size))), "") << size;
  const auto error_of_old = [](const PickledTensor& tensor) {
    return error_of(bytes_of(torch_file_before_1_6(tensor.text() + ".")));
  };
  EXPECT_EQ(error_of_old({.size = "K\7"}), "t.pth: storage 0: found 6 elements, want 7");
  EXPECT_EQ(error_of_old({.type = "Double"}),
            "t.pth: storage 0: the file ends within it; is the file cut off?");
  EXPECT_EQ(error_of_old({.storage = "1"}), "t.pth: storage 0: is of a type that is not read");
  EXPECT_EQ(error_of_old({.type = "ComplexFloat"}),
            "t.pth: storage 0: is of a type that is not read");
  std::string big_endian = file;
  big_endian[big_endian.find('\x88')] = '\x89';
  EXPECT_EQ(error_of(bytes_of(big_endian)),
            "t.pth: sys_info: numbers are big-endian, want little-endian");
}

TEST(TorchFile, CompressedEntriesAreRefusedBeforeTheyAreInflated) {
  auto entries = torch_entries(PickledTensor{.size = "J\0\0\0\1"s}.text() + ".");
  entries[2].second.assign(64 << 20, '\0');
  const Bytes bomb = zip_archive(entries, /*compressed=*/true);
  EXPECT_LT(bomb.size(), 1 << 20);
  EXPECT_EQ(error_of(bomb),
            "t.pth: entry file/byteorder: compressed, want uncompressed bytes, as torch.save "
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
  // Strides that are never used for a step.
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
            "t.pth: offset 0: found an empty file, want a file of torch.save: was its download or "
            "copy interrupted?");
  EXPECT_THAT(error_of(bytes_of("PK\3\4")), HasSubstr("is the file cut off?"));
  EXPECT_THAT(error_of(bytes_of("{}\n\n\n")), HasSubstr("found a text that begins \"{}\", want"));
  EXPECT_THAT(error_of(bytes_of(std::string(257, '\0') + "ustar")), HasSubstr("a tar archive"));
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

}  // namespace
}  // namespace pfc
