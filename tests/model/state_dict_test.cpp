// Backbones in PyTorch's files, written by the PyTorch that users have.
#include "model/state_dict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <filesystem>
#include <sstream>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/model/backbone.h"
#include "pfc/model/backbone_file.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;

/// InsightFace's r18, as in a user's program.
constexpr const char* kReferenceR18 = R"(
import sys, torch
from torch import nn
folder = sys.argv[1] + '/'

class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(i)
        self.conv1 = nn.Conv2d(i, o, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.prelu = nn.PReLU(o)
        self.conv2 = nn.Conv2d(o, o, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(o)
        self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False),
                                        nn.BatchNorm2d(o)) if stride != 1 else None
    def forward(self, x):
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))

class R18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        widths = [64, 64, 128, 256, 512]
        for n in range(4):
            setattr(self, f'layer{n + 1}', nn.Sequential(Block(widths[n], widths[n + 1], 2),
                                                         Block(widths[n + 1], widths[n + 1], 1)))
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout(0)
        self.fc = nn.Linear(512 * 7 * 7, 512)
        self.features = nn.BatchNorm1d(512)
    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.dropout(torch.flatten(self.bn2(x), 1))))

torch.manual_seed(1)
model = R18()
images = torch.linspace(-1, 1, 3 * 112 * 112).reshape(1, 3, 112, 112)
)";

class StateDictFile : public testing::Test {
 protected:
  void SetUp() override {
    if (!python_) GTEST_SKIP() << python_.why_not();
  }

  std::string run(const std::string& program) const { return python_.run(program, folder_.path()); }

  void expect_refused(const std::string& name, const std::string& sentence,
                      std::string_view network = {}) const {
    EXPECT_THAT(
        [&] { open_backbone(folder_ / name, network); },
        testing::Throws<DataError>(testing::Property(&DataError::what, HasSubstr(sentence))))
        << name;
  }

  static void expect_equal(const Backbone& got, const Backbone& want) {
    const auto a = state_of(got), b = state_of(want);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].first, b[i].first);
      EXPECT_TRUE(torch::equal(a[i].second, b[i].second)) << a[i].first;
    }
  }

  Python python_{"torch"};
  TemporaryFolder folder_;
};

std::vector<double> numbers(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<double>(in), {}};
}

TEST_F(StateDictFile, TheFieldsR18EmbedsHereAsItDoesThere) {
  const auto want = numbers(run(std::string(kReferenceR18) + R"(
model.train()(torch.randn(4, 3, 112, 112))  # moves the running statistics
torch.save(model.state_dict(), folder + 'backbone.pth')
print(*model.eval()(images)[0].tolist())
)"));
  const SavedBackbone saved = open_backbone(folder_ / "backbone.pth");
  EXPECT_EQ(saved.name.network, "r18");
  EXPECT_EQ(saved.name.embedding_size, 512);
  const torch::NoGradGuard no_grad;
  saved.backbone->eval();
  const auto images = torch::linspace(-1, 1, 3 * 112 * 112).reshape({1, 3, 112, 112});
  const auto got = saved.backbone->forward(images)[0].to(torch::kFloat64);
  EXPECT_TRUE(got.allclose(torch::tensor(want, torch::kFloat64), 1e-4, 1e-4))
      << (got - torch::tensor(want, torch::kFloat64)).abs().max();
}

TEST_F(StateDictFile, TheFieldsR18LoadsWhatIsWrittenHere) {
  const auto backbone = make_backbone("r18", 512, 1);
  backbone->forward(torch::randn({2, 3, 112, 112}));
  backbone->eval();
  save_state_dict(*backbone, folder_ / "backbone.pth");
  const auto got = numbers(run(std::string(kReferenceR18) + R"(
state = torch.load(folder + 'backbone.pth', weights_only=True)
assert list(state) == list(model.state_dict())
assert all(state[n].shape == t.shape and state[n].dtype == t.dtype and not state[n].requires_grad
           for n, t in model.state_dict().items())
model.load_state_dict(state)
print(*model.eval()(images)[0].tolist())
)"));
  const torch::NoGradGuard no_grad;
  const auto images = torch::linspace(-1, 1, 3 * 112 * 112).reshape({1, 3, 112, 112});
  const auto want = backbone->forward(images)[0].to(torch::kFloat64);
  EXPECT_TRUE(want.allclose(torch::tensor(got, torch::kFloat64), 1e-4, 1e-4));
}

TEST_F(StateDictFile, GoesThroughPyTorchAndBackBitForBit) {
  for (const std::string name : {"tiny", "mbf", "vit_t"}) {
    const auto backbone = make_backbone(name, 64, 1);
    save_state_dict(*backbone, folder_ / "ours.pth");
    expect_equal(*load_backbone(folder_ / "ours.pth"), *backbone);
    run(R"(
import sys, torch
state = torch.load(sys.argv[1] + '/ours.pth', weights_only=True)
torch.save(state, sys.argv[1] + '/theirs.pth'))");
    const SavedBackbone back = open_backbone(folder_ / "theirs.pth");
    EXPECT_EQ(back.name.network, name);
    EXPECT_EQ(back.name.embedding_size, 64);
    expect_equal(*back.backbone, *backbone);
  }
}

TEST_F(StateDictFile, IsFoundWhereTheFieldsProgramsPutIt) {
  const auto backbone = make_backbone("tiny", 8, 1);
  save_state_dict(*backbone, folder_ / "ours.pth");
  run(R"(
import sys, torch
folder = sys.argv[1] + '/'
state = torch.load(folder + 'ours.pth')
keys = ('state_dict', 'state_dict_backbone', 'backbone', 'model', 'model_state_dict', 'net', 'ema')
for key in keys:
    torch.save({'epoch': 1, key: state, 'other': {'weight': torch.ones(2)}}, folder + key + '.pth')
torch.save({'run': [1, {'nets': {'face': state}}]}, folder + 'nested.pth')
torch.save((state, 3), folder + 'tuple.pth')
other = {n: t + 1 if t.is_floating_point() else t for n, t in state.items()}
torch.save({'ema': other, 'model': state, 'teacher.net': other}, folder + 'two.pth')
torch.save({**{'teacher.' + n: t for n, t in other.items()},
            **{'student.' + n: t for n, t in state.items()}}, folder + 'student.pth')
prefixes = ('module.', '_orig_mod.', 'backbone.', 'model.', 'features.module.', 'feat_net.',
            'module._orig_mod.', '_orig_mod.module.model.backbone.')
for i, prefix in enumerate(prefixes):
    torch.save({'model': {**{prefix + n: t for n, t in state.items()},
                          'head.weight': torch.ones(9, 8)}}, folder + f'prefix{i}.pth')
torch.save({n.replace('layer1.', 'layer1._orig_mod.'): t for n, t in state.items()},
           folder + 'inner.pth')
torch.save({**state, 'weight': torch.ones(9, 8)}, folder + 'head0.pth')
torch.save({**state, 'head.kernel': torch.ones(8, 9), 'head.t': torch.ones(1)}, folder + 'head1.pth')
torch.save(state, folder + 'old.pth', _use_new_zipfile_serialization=False)
torch.save({n: t for n, t in state.items() if 'num_batches' not in n}, folder + 'older.pth')
torch.save({n: t.to(memory_format=torch.channels_last) if t.dim() == 4 else t
            for n, t in state.items()}, folder + 'channels_last.pth')
torch.save({n: t.double() if t.is_floating_point() else t for n, t in state.items()},
           folder + 'double.pth'))");
  for (const std::string name : {"state_dict",
                                 "state_dict_backbone",
                                 "backbone",
                                 "model",
                                 "model_state_dict",
                                 "net",
                                 "ema",
                                 "nested",
                                 "tuple",
                                 "two",
                                 "student",
                                 "prefix0",
                                 "prefix1",
                                 "prefix2",
                                 "prefix3",
                                 "prefix4",
                                 "prefix5",
                                 "prefix6",
                                 "prefix7",
                                 "inner",
                                 "head0",
                                 "head1",
                                 "old",
                                 "older",
                                 "channels_last",
                                 "double"}) {
    SCOPED_TRACE(name);
    expect_equal(*load_backbone(folder_ / (name + ".pth")), *backbone);
  }
}

TEST_F(StateDictFile, WhatIsLeftOutIsCountedAndNamed) {
  const auto backbone = make_backbone("tiny", 8, 1);
  save_state_dict(*backbone, folder_ / "ours.pth");
  run(R"(
import sys, torch
folder = sys.argv[1] + '/'
state = torch.load(folder + 'ours.pth')
torch.save({'net': {**{'backbone.' + n: t for n, t in state.items()}, 'fc.weight': torch.ones(9, 8)},
            'optimizer': {'state': {i: {'m': t, 'v': t} for i, t in enumerate([torch.ones(2)] * 5)}},
            'state_dict_softmax_fc': {'weight': torch.ones(9, 8)}}, folder + 'full.pth')
torch.save({**state, 'head.weight': torch.ones(9, 8), 'head.bias': torch.ones(9)},
           folder + 'head.pth'))");
  const auto left_out = [&](const std::string& name) {
    return open_backbone(folder_ / name).left_out;
  };
  EXPECT_EQ(left_out("ours.pth"), "");
  EXPECT_EQ(left_out("full.pth"),
            (folder_ / "full.pth").string() +
                ": left out: 1 tensor that is not the network's (fc.weight), 10 tensors under "
                "'optimizer', 1 tensor under 'state_dict_softmax_fc'");
  EXPECT_EQ(left_out("head.pth"),
            (folder_ / "head.pth").string() +
                ": left out: 2 tensors that are not the network's (head.weight, head.bias)");
}

TEST_F(StateDictFile, NarrowNumbersBecomeFloat32) {
  const auto backbone = make_backbone("tiny", 8, 1);
  save_state_dict(*backbone, folder_ / "ours.pth");
  run(R"(
import sys, torch
folder = sys.argv[1] + '/'
state = torch.load(folder + 'ours.pth')
for name, t in {'half': torch.float16, 'bfloat16': torch.bfloat16}.items():
    torch.save({n: v.to(t) if v.is_floating_point() else v for n, v in state.items()},
               folder + name + '.pth'))");
  for (const auto& [name, type] :
       {std::pair("half.pth", torch::kFloat16), std::pair("bfloat16.pth", torch::kBFloat16)}) {
    const auto loaded = load_backbone(folder_ / name);
    const auto want = state_of(*backbone)[0].second;
    const auto got = state_of(*loaded)[0].second;
    EXPECT_EQ(got.scalar_type(), torch::kFloat32);
    EXPECT_TRUE(torch::equal(got, want.to(type).to(torch::kFloat32))) << name;
  }
}

TEST_F(StateDictFile, WhatIsNotAKnownNetworkIsRefused) {
  save_state_dict(*make_backbone("tiny", 8, 1), folder_ / "ours.pth");
  run(R"(
import sys, torch
folder = sys.argv[1] + '/'
state = torch.load(folder + 'ours.pth')
torch.save({'weight': torch.ones(2), 'bias': torch.ones(2)}, folder + 'linear.pth')
torch.save({'epoch': 3, 'net': [1]}, folder + 'elsewhere.pth')
torch.save({'weight': torch.ones(9, 8)}, folder + 'centers.pth')
torch.save({'net': {'conv1.weight': torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}},
           folder + 'quantised.pth')
torch.save({**state, 'layer1.0.se.weight': torch.ones(9, 8)}, folder + 'inside.pth')
torch.save(torch.ones(2), folder + 'tensor.pth')
torch.save({n: t for n, t in state.items() if n != 'fc.bias'}, folder + 'missing.pth')
torch.save({**state, 'extra': torch.ones(2)}, folder + 'unknown.pth')
torch.save({**state, 'fc.bias': torch.ones(9)}, folder + 'shape.pth')
torch.save({**state, 'fc.bias': torch.ones(8, dtype=torch.int32)}, folder + 'type.pth'))");
  expect_refused(
      "linear.pth",
      "found 2 tensors, from 'weight' to 'bias', want those of a known network: r18 r34");
  write_file(folder_ / "text.pth", "not a network");
  expect_refused("text.pth",
                 "found a text that begins \"not a network\", want a network: .safetensors, .onnx, "
                 "or a .pth or .pt of PyTorch");
  expect_refused("elsewhere.pth",
                 "found the keys 'epoch' 'net', want a state_dict, or a dict that holds one");
  expect_refused("centers.pth",
                 "found 1 tensor, 'weight' of shape [9, 8], want those of a known network");
  expect_refused("quantised.pth",
                 "found tensors that are not read under 'net', 1 such as conv1.weight: quantised");
  expect_refused("inside.pth", "tensor 'layer1.0.se.weight': tiny has no such tensor");
  expect_refused("tensor.pth", "found one tensor without a name, want a state_dict");
  expect_refused("missing.pth", "tensor 'fc.bias': missing");
  expect_refused("unknown.pth", "tensor 'extra': tiny has no such tensor");
  expect_refused("shape.pth", "tensor 'fc.bias': shape [9], want [8]");
  expect_refused("type.pth", "tensor 'fc.bias': dtype I32, want F32");
  expect_refused("ours.pth", "its tensors are those of tiny, want r50", "r50");
}

TEST_F(StateDictFile, NetworksThatDifferInTrainingOnlyAreToldByName) {
  save_state_dict(*make_backbone("vit_t_dp005_mask0", 8, 1), folder_ / "vit.pth");
  EXPECT_EQ(open_backbone(folder_ / "vit.pth").name.network, "vit_t");
  EXPECT_EQ(open_backbone(folder_ / "vit.pth", "vit_t_dp005_mask0").name.network,
            "vit_t_dp005_mask0");
}

}  // namespace
}  // namespace pfc
