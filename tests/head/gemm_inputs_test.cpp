// The head where a GPU's GEMMs take narrower numbers than float32.
#include "pfc/head/gemm_input.h"

#include <gtest/gtest.h>

#include "head/head_case.h"

namespace pfc {
namespace {

struct Gemm {
  GemmInput input;
  double tolerance;
};
const Gemm kGemms[] = {
    {GemmInput::kTF32, 2e-3}, {GemmInput::kFloat16, 2e-3}, {GemmInput::kBFloat16, 1e-2}};

TEST(GemmInputs, EqualTheFormulaToTheirPrecision) {
  for (TestDevice device : test_devices()) {
    for (const Gemm& gemm : kGemms) {
      device.tolerance = gemm.tolerance;
      HeadCase c = usual_case(std::string(name_of(gemm.input)) + " on " + device.name);
      c.head.gemm = gemm.input;
      c.head.table.dim = 512;
      c.head.scale = 64;
      c.head.tile_rows = 0;
      c.classes = 2000;
      for (std::int64_t i = 0; i < 40; ++i) c.labels.push_back(i * i);
      expect_equals_the_formula(device, c);
      c.head.workspace_bytes = 0;
      expect_equals_the_formula(device, c);
    }
  }
}

TEST(GemmInputs, OfBFloat16EqualTheFormulaOfEveryLoss) {
  for (TestDevice device : test_devices()) {
    device.tolerance = 2e-2;
    HeadCase c = usual_case("bfloat16 on " + device.name);
    c.head.gemm = GemmInput::kBFloat16;
    c.head.table.dim = 136;
    c.classes = 500;
    c.labels = {3, 170, 170, 404, 499, 0, 57};
    c.steps = 2;
    const auto expect_of_every_loss = [&] {
      const auto expect_of = [&](const auto& loss) {
        c.head.loss = loss;
        expect_equals_the_formula(device, c);
      };
      std::apply([&](const auto&... loss) { (expect_of(loss), ...); }, Losses());
    };
    expect_of_every_loss();
    c.name += ", filter, nothing kept, micro-batches";
    c.head.interclass_filter = 0.2;
    c.head.workspace_bytes = 0;
    c.part = 3;
    expect_of_every_loss();
  }
}

TEST(GemmInputs, LoseNoMoreDigitsOfLearntSamples) {
  for (const TestDevice& device : test_devices()) {
    for (const Gemm& gemm : kGemms) {
      SCOPED_TRACE(name_of(gemm.input));
      HeadCase c = usual_case("learnt");
      c.head.gemm = gemm.input;
      c.head.table.dim = 512;
      const LearntErrors found = errors_of_learnt_samples(device, c);
      EXPECT_LT(found.loss, 1e-2);
      EXPECT_LT(found.d_embeddings, 1e-2);
      EXPECT_LT(found.own_momentum, 1e-2);
      EXPECT_LT(found.others_momentum, 1e-2);
    }
  }
}

}  // namespace
}  // namespace pfc
