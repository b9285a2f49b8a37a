#include "pfc/train/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "pfc/base/error.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

Manifest example() {
  Manifest manifest;
  manifest.step = 1200;
  manifest.world = 4;
  manifest.config = "output = \"a \\\"b\\\"\"\n[data]\n";
  manifest.seed = 18446744073709551615u;
  manifest.images = 24'792;
  manifest.identities = 6'133;
  manifest.labels = 0xfedcba9876543210u;
  manifest.excluded = {"17", "18"};
  manifest.state["corrupt"] = std::vector<std::int64_t>{2};
  manifest.state["best_accuracy"] = std::vector{0.8123456789012345};
  manifest.state["best_on"] = std::vector{std::numeric_limits<std::int64_t>::min()};
  manifest.state["statistics"] = std::vector{-1.5, 3.0};
  manifest.files["backbone.safetensors"] = {.bytes = 10, .blocks = {0xffffffffffffffffu}};
  manifest.files["empty"] = {};
  manifest.files["two blocks"] = {.bytes = Checksums::kBlockBytes + 1, .blocks = {1, 2}};
  return manifest;
}

/// The example's text with one piece of it replaced.
std::string replaced(const std::string& what, const std::string& with) {
  std::string json = to_json(example());
  const std::size_t at = json.find(what);
  EXPECT_NE(at, json.npos) << what;
  return json.replace(at, what.size(), with);
}

TEST(Manifest, ReadsBackAsItWasWritten) {
  EXPECT_EQ(parse_manifest(to_json(example()), "manifest.json"), example());
}

TEST(Manifest, OfAnOlderVersionHasTheSameNumbersInOtherPlaces) {
  std::string json = to_json(example());
  const std::size_t begin = json.find(" \"state\""), end = json.find(" \"config\"");
  const auto with = [&](const std::string& places) {
    std::string older = json;
    return parse_manifest(older.replace(begin, end - begin, places), "manifest.json").state;
  };
  using Whole = std::vector<std::int64_t>;
  using Real = std::vector<double>;
  const std::map<std::string, SavedNumbers> two = {{"corrupt", Whole{2}},
                                                   {"best_accuracy", Real{0.5}}};
  EXPECT_EQ(with(R"("corrupt": 2, "best_accuracy": 0.5,)"), two);
  std::map<std::string, SavedNumbers> all = two;
  all["best_on"] = Whole{static_cast<std::int64_t>(0xfedcba9876543210u)};
  all["loss_scaler.factor"] = Real{32768};
  all["loss_scaler.steps"] = Whole{1999};
  all["loss_scaler.skipped"] = Whole{3};
  EXPECT_EQ(with(R"("corrupt": 2, "best_accuracy": 0.5, "best_on": "fedcba9876543210",
                    "loss_scaler": {"factor": 32768.0, "steps": 1999, "skipped": 3},)"),
            all);
}

TEST(Manifest, SaysWhatIsWrongWithAFile) {
  const auto expect = [](const std::string& json, const std::string& sentence) {
    EXPECT_THAT([&] { parse_manifest(json, "manifest.json"); },
                ThrowsMessage<DataError>(HasSubstr("manifest.json: " + sentence)));
  };
  expect("", "byte 1: not JSON");
  expect("[1]", "manifest: not a JSON object");
  expect(to_json(example()).substr(0, 300), "byte 301: not JSON");
  expect(R"({"a":[[[[[[1]]]]]]})", "manifest: nested too deeply");
  expect(R"({"a":1e999})", "manifest: a number beyond every type");
  expect("{}", "format: missing");
  expect(replaced("checkpoint 1", "checkpoint 2"),
         "format: 'partial-fc checkpoint 2', want 'partial-fc checkpoint 1'");
  expect(replaced("\"step\": 1200", "\"step\": -1"), "step: not a whole number of 0 or more");
  expect(replaced("\"step\": 1200", "\"step\": 9223372036854775808"),
         "step: 9223372036854775808, want 0 to 9223372036854775807");
  expect(replaced("\"world\": 4", "\"world\": 0"), "world: 0, want 1 to 1048576");
  expect(replaced("fedcba9876543210", "fedcba987654321x"),
         "labels: not a number in hexadecimal digits");
  expect(replaced("\"corrupt\": 2", "\"corrupt\": \"2\""),
         "corrupt: neither a number nor a list of numbers");
  expect(replaced("\"corrupt\": 2", "\"corrupt\": [2, []]"),
         "corrupt: neither a number nor a list of numbers");
  expect(replaced("\"corrupt\": 2", "\"corrupt\": 9223372036854775808"),
         "corrupt: 9223372036854775808, want 9223372036854775807 at most");
  expect(replaced("\"state\": {", "\"state\": 1, \"of\": {"), "state: not a JSON object");
  expect(replaced("\"state\": {", "\"numbers\": {"), "corrupt: missing");
  expect(replaced("\"17\"", "17"), "excluded: holds something other than strings");
  expect(replaced("\"bytes\": 10", "\"bytes\": 0"), "backbone.safetensors: 1 checksums, want 0");
  expect(replaced("\"backbone.safetensors\"", "\"../backbone\""),
         "files: '../backbone' is no name of a file");
}

}  // namespace
}  // namespace pfc
