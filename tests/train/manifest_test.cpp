#include "pfc/train/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  manifest.corrupt = 2;
  manifest.best_accuracy = 0.8123456789012345;
  manifest.best_on = 0x0123456789abcdefu;
  manifest.loss_factor = 32768;
  manifest.loss_steps = 1999;
  manifest.loss_skipped = 3;
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
  EXPECT_EQ(parse_manifest(to_json(Manifest{.images = 1, .identities = 1}), "m").best_accuracy, -1);
}

TEST(Manifest, OfAnOlderVersionDoesNotSayWhatTheBestWasMeasuredOn) {
  const Manifest older =
      parse_manifest(replaced("\n \"best_on\": \"0123456789abcdef\",", ""), "manifest.json");
  EXPECT_EQ(older.best_accuracy, example().best_accuracy);
  EXPECT_EQ(older.best_on, 0u);
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
  expect(replaced("0123456789abcdef", ""), "best_on: not a number in hexadecimal digits");
  expect(replaced("32768.0", "0.0"), "factor: not a number above 0");
  expect(replaced("\"17\"", "17"), "excluded: holds something other than strings");
  expect(replaced("\"bytes\": 10", "\"bytes\": 0"), "backbone.safetensors: 1 checksums, want 0");
  expect(replaced("\"backbone.safetensors\"", "\"../backbone\""),
         "files: '../backbone' is no name of a file");
}

}  // namespace
}  // namespace pfc
