#include "pfc/train/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "pfc/base/error.h"
#include "temporary_folder.h"
#include "train/config_fields.h"

namespace pfc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Config parse(std::string_view text, const std::vector<std::string>& overrides = {}) {
  return parse_config(text, "run.toml", overrides);
}

/// The sentence with which the text is refused.
std::string refusal(std::string_view text, const std::vector<std::string>& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

class ConfigFiles : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    write_text(folder_ / name, text);
    return folder_ / name;
  }
  std::string refusal_of_file(const std::filesystem::path& path) const {
    try {
      load_config(path, {});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
};

TEST(Config, EmptyTextIsAllDefaults) {
  EXPECT_EQ(parse(""), Config{});
}

TEST(Config, TakesARateThatChangesAsAListOfStepAndRate) {
  const StepwiseNumber rate = parse("head.sample_rate = [[0, 0.1], [20000, 1]]").head.sample_rate;
  EXPECT_EQ(rate, StepwiseNumber({{0, 0.1}, {20'000, 1}}));
  EXPECT_EQ(parse("", {"head.sample_rate=[[0, 0.1], [20000, 1]]"}).head.sample_rate, rate);
  EXPECT_EQ(parse("head.sample_rate = [[0, 0.1]]").head.sample_rate, 0.1);
  for (const char* wrong : {"[]", "[0.1]", "[[5, 0.1]]", "[[0, 0.1], [9, 0.2], [9, 0.3]]",
                            "[[0, 0.1], [9, 1.5]]", "[[0, 0.1, 5]]", "[[0.0, 0.1]]", "[[0, true]]"})
    EXPECT_THAT(refusal("head.sample_rate = " + std::string(wrong)),
                HasSubstr("want a number from 0 to 1, or a list of [step, number] from step 0 on"))
        << wrong;
}

TEST(Config, ReadsEveryKindOfValue) {
  const Config config = parse(R"(
    output = "runs/1"
    data.mirror = false
    [head]
    sample_rate = 0.1
    margin = "arcface"
    [train]
    batch_size = 512
    seed = 9223372036854775807
    [schedule]
    kind = "step"
    milestones = [200_000, 400_000]
    [eval]
    sets = ["lfw.bin", "cfp_fp.bin"]
  )");
  EXPECT_EQ(config.output, "runs/1");
  EXPECT_FALSE(config.data.mirror);
  EXPECT_EQ(config.head.sample_rate, 0.1);
  EXPECT_EQ(config.head.margin, "arcface");
  EXPECT_EQ(config.train.batch_size, 512);
  EXPECT_EQ(config.train.seed, 9223372036854775807u);
  EXPECT_THAT(config.schedule.milestones, ElementsAre(200'000, 400'000));
  EXPECT_THAT(config.eval.sets, ElementsAre("lfw.bin", "cfp_fp.bin"));
}

TEST(Config, ATildeInAPathIsTheHomeFolder) {
  const std::string home = std::getenv("HOME") != nullptr ? std::getenv("HOME") : "";
  if (home.empty()) GTEST_SKIP() << "there is no HOME";
  const Config config =
      parse("output = \"~/runs\"\neval.sets = [\"~/lfw.bin\"]", {"data.train=~/x"});
  EXPECT_EQ(config.output, home + "/runs");
  EXPECT_EQ(config.eval.sets, std::vector{home + "/lfw.bin"});
  EXPECT_EQ(config.data.train, home + "/x");
}

TEST(Config, IntegersAreNumbers) {
  EXPECT_EQ(parse("head.scale = 30").head.scale, 30.0);
}

TEST(Config, NumbersAreNotIntegers) {
  EXPECT_EQ(refusal("\ntrain.batch_size = 128.0"),
            "run.toml: line 2: train.batch_size is 128.0, want an integer from 1 to 1048576");
}

TEST(Config, WrongTypesAreNamed) {
  EXPECT_THAT(refusal("head.m = \"big\""),
              HasSubstr("line 1: head.m is the string \"big\", want a number from 0 to 3.14159"));
  EXPECT_THAT(refusal("data.mirror = 1"), HasSubstr("data.mirror is 1, want true or false"));
  EXPECT_THAT(refusal("eval.sets = [1]"), HasSubstr("is a list, want a list of strings"));
  EXPECT_THAT(refusal("head = 3"), HasSubstr("head is 3, want a section [head]"));
  EXPECT_THAT(refusal("[[head]]"), HasSubstr("head is a list, want a section [head]"));
  EXPECT_THAT(refusal("[output]"), HasSubstr("output is a table, want a string"));
  EXPECT_THAT(refusal("output = 2024-01-01"), HasSubstr("is a date or time, want a string"));
}

TEST(Config, ValuesOutsideTheirRangeAreRefused) {
  for (const char* text :
       {"head.sample_rate = 1.5", "head.sample_rate = -0.1", "head.scale = 0", "head.scale = inf",
        "schedule.lr = nan", "schedule.lr = -1", "schedule.warmup = 2", "train.batch_size = 0",
        "train.steps = -1", "train.seed = -1", "log.every = 0", "data.prefetch = 0",
        "optimizer.momentum = 1.0", "schedule.factor = 0", "model.embedding_size = 0",
        "schedule.milestones = [0]", "data.max_corrupt_share = 1.1", "eval.every = -5"}) {
    EXPECT_THAT(refusal(text), HasSubstr("want a")) << text;
  }
}

TEST(Config, LimitsThemselvesAreAccepted) {
  EXPECT_EQ(parse("head.sample_rate = 0").head.sample_rate, 0.0);
  EXPECT_EQ(parse("head.sample_rate = 1").head.sample_rate, 1.0);
  EXPECT_EQ(parse("train.batch_size = 1").train.batch_size, 1);
}

TEST(Config, BadChoicesNameTheKnownOnes) {
  EXPECT_EQ(refusal("head.gemm_type = \"int8\""),
            "run.toml: line 1: head.gemm_type is the string \"int8\", want one of auto, bfloat16, "
            "float16, tf32, float32");
  EXPECT_EQ(refusal("", {"train.device=tpu"}),
            "--set: \"train.device=tpu\": train.device is the string \"tpu\", want one of auto, "
            "cpu, cuda");
  EXPECT_EQ(refusal("head.margin = \"cosfase\""),
            "run.toml: line 1: head.margin is the string \"cosfase\", want one of cosface, "
            "arcface, combined, adaface, curricularface, elasticface, magface, subcenter_arcface");
  EXPECT_EQ(refusal("head.margin = \"magface\"\nhead.magface_l_a = 200"),
            "run.toml: head.margin: head.magface_l_a is not below head.magface_u_a");
}

TEST(Config, EveryNameOfEveryChoiceIsReadAndWritten) {
  Config config;
  int names = 0;
  for (const Field& field : fields(config)) {
    for (const std::string_view name : field.choices) {
      const std::string line =
          "schedule.milestones = [1]\n" + field.key + " = " + toml_string(name);
      Config read = parse(line);
      const std::vector<Field> all = fields(read);
      const auto found = std::ranges::find(all, field.key, &Field::key);
      EXPECT_THAT(literal(*found), HasSubstr(toml_string(name))) << field.key;
      ++names;
    }
  }
  EXPECT_GT(names, 25);
}

TEST(Config, UnknownKeysNameTheNearestKnownOne) {
  EXPECT_EQ(refusal("[head]\nm = 0.3\nsampel_rate = 0.1"),
            "run.toml: line 3: unknown key \"head.sampel_rate\"; the nearest known key is "
            "head.sample_rate");
}

TEST(Config, KeysInTheWrongSectionAreFoundByName) {
  EXPECT_THAT(refusal("[optimizer]\nlr = 0.1"), HasSubstr("nearest known key is schedule.lr"));
  EXPECT_THAT(refusal("batch_size = 12"), HasSubstr("nearest known key is train.batch_size"));
}

TEST(Config, UnknownSectionsNameTheNearestKnownOne) {
  EXPECT_EQ(refusal("[optimiser]\nmomentum = 0.9"),
            "run.toml: line 1: unknown section \"optimiser\"; the nearest known section is "
            "optimizer");
}

TEST(Config, SyntaxErrorsSayTheLine) {
  EXPECT_THAT(refusal("[head]\nm = 0.4.4"), HasSubstr("run.toml: line 2: "));
  EXPECT_THAT(refusal("output = \"a\"\noutput = \"b\""), HasSubstr("run.toml: line 2: "));
}

TEST(Config, MessagesAreOneLine) {
  EXPECT_THAT(refusal("\"a\\nb\" = 1"), testing::Not(HasSubstr("\n")));
  EXPECT_THAT(refusal("head.m = \"a\\nb\""), testing::Not(HasSubstr("\n")));
  EXPECT_THAT(refusal("x = \"\x01\""),
              testing::Not(testing::AnyOf(HasSubstr("\n"), HasSubstr("\x01"))));
}

TEST(Config, StepsTakeThePlaceOfDefaultEpochs) {
  const Config config = parse("train.steps = 100");
  EXPECT_EQ(config.train.steps, 100);
  EXPECT_EQ(config.train.epochs, 0.0);
}

TEST(Config, OneSourceMustNotSetBothEpochsAndSteps) {
  EXPECT_EQ(refusal("[train]\nepochs = 2\nsteps = 100"),
            "run.toml: line 3: train.steps and train.epochs are both set, want one of them");
  EXPECT_THAT(refusal("", {"train.epochs=2", "train.steps=3"}), HasSubstr("both set"));
}

TEST(Config, AnOverrideOfStepsReplacesEpochsAndBack) {
  const Config by_steps = parse("train.epochs = 5", {"train.steps=7"});
  EXPECT_EQ(by_steps.train.steps, 7);
  EXPECT_EQ(by_steps.train.epochs, 0.0);
  const Config by_epochs = parse("train.steps = 7", {"train.epochs=5"});
  EXPECT_EQ(by_epochs.train.steps, 0);
  EXPECT_EQ(by_epochs.train.epochs, 5.0);
}

TEST(Config, ARunOfNoLengthIsRefused) {
  EXPECT_THAT(refusal("train.epochs = 0"), HasSubstr("both 0"));
}

TEST(Config, OverridesAreTomlOrBareStrings) {
  const Config config =
      parse("data.train = \"a\"", {"data.train=/data/faces", "eval.sets=[\"a.bin\", \"b.bin\"]",
                                   "head.margin=arcface", "head.m=0.5", "data.mirror=false"});
  EXPECT_EQ(config.data.train, "/data/faces");
  EXPECT_THAT(config.eval.sets, ElementsAre("a.bin", "b.bin"));
  EXPECT_EQ(config.head.margin, "arcface");
  EXPECT_EQ(config.head.m, 0.5);
  EXPECT_FALSE(config.data.mirror);
}

TEST(Config, AStringMayLookLikeAnotherType) {
  EXPECT_EQ(parse("", {"output=2024"}).output, "2024");
  EXPECT_EQ(parse("", {"output=true"}).output, "true");
  EXPECT_EQ(parse("", {"output=\"quoted\""}).output, "quoted");
  EXPECT_EQ(parse("", {"output=a = b # c"}).output, "a = b # c");
}

TEST(Config, AListOfOneNeedsNoBrackets) {
  EXPECT_THAT(parse("", {"eval.sets=a.bin"}).eval.sets, ElementsAre("a.bin"));
  EXPECT_THAT(parse("", {"schedule.milestones=5"}).schedule.milestones, ElementsAre(5));
  EXPECT_THAT(parse("eval.sets = \"a.bin\"").eval.sets, ElementsAre("a.bin"));
}

TEST(Config, TheLastOverrideHolds) {
  EXPECT_EQ(parse("", {"head.m=0.1", "head.m=0.2"}).head.m, 0.2);
}

TEST(Config, AnOverrideCannotSmuggleInAnotherKey) {
  EXPECT_EQ(parse("", {"output=\"a\"\nhead.m = 0.1"}).head.m, Config{}.head.m);
}

TEST(Config, ANetworksOptionsAreReadByTheirNames) {
  const Config config = parse("model.options = { depth = 3, pool = \"max\" }",
                              {"model.options.rate=0.5", "model.options.pool=mean"});
  EXPECT_EQ(
      config.model.options,
      (NamedValues{{"depth", std::int64_t{3}}, {"pool", std::string("mean")}, {"rate", 0.5}}));
  EXPECT_EQ(parse("[model.options]\ndepth = 3").model.options,
            (NamedValues{{"depth", std::int64_t{3}}}));
  EXPECT_EQ(parse("", {"model.options={wide = true}"}).model.options,
            (NamedValues{{"wide", true}}));
  EXPECT_EQ(parse(to_toml(config)), config);
  EXPECT_EQ(refusal("[model.options]\ndepth = [3]"),
            "run.toml: line 2: model.options.depth is a list, want true or false, a number or a "
            "string");
  EXPECT_THAT(refusal("model.options.rate = nan"), HasSubstr("model.options.rate is nan"));
  EXPECT_THAT(refusal("model.options = 3"), HasSubstr("want a table"));
  EXPECT_THAT(refusal("model.options.\"a b\" = 3"), HasSubstr("the name \"a b\", want letters"));
  EXPECT_THAT(refusal("", {"model.options.=3"}), HasSubstr("the name \"\", want letters"));
  EXPECT_EQ(parse("", {"model.options.a=1, b = 2"}).model.options,
            (NamedValues{{"a", std::string("1, b = 2")}}));
}

TEST(Config, AugmentationsAreAListWithASectionEach) {
  const Config config = parse("data.augment = [\"grey\", \"crop\"]\n[augment.crop]\narea = 0.5",
                              {"augment.grey.probability=0.1"});
  EXPECT_THAT(config.data.augment, ElementsAre("grey", "crop"));
  EXPECT_EQ(config.augment.at("crop.area"), 0.5);
  EXPECT_EQ(config.augment.at("crop.probability"), 0.2);
  EXPECT_EQ(config.augment.at("grey.probability"), 0.1);
  EXPECT_EQ(parse(to_toml(config)), config);
  EXPECT_THAT(
      refusal("data.augment = \"gray\""),
      HasSubstr("data.augment is the string \"gray\", want a list out of affine, blur, crop"));
  EXPECT_EQ(refusal("[augment.crop]\nprobability = 2"),
            "run.toml: line 2: augment.crop.probability is 2, want a number from 0 to 1");
  EXPECT_EQ(refusal("[augment.crop]\nprobabilty = 0.1"),
            "run.toml: line 2: unknown key \"augment.crop.probabilty\"; the nearest known key is "
            "augment.crop.probability");
  EXPECT_EQ(refusal("augment.crop = 0.1"),
            "run.toml: line 1: augment.crop is 0.1, want a section [augment.crop]");
  EXPECT_THAT(refusal("augment.\"crop.area\" = 0.1"), HasSubstr("unknown key"));
  EXPECT_THAT(refusal("data.augment = [\"crop\", \"crop\"]"), HasSubstr("crop more than once"));
}

TEST(Config, BadOverridesAreNamed) {
  EXPECT_EQ(refusal("", {"head.mm=0.3"}),
            "--set: \"head.mm=0.3\": unknown key \"head.mm\"; the nearest known key is head.m");
  EXPECT_THAT(refusal("", {"head.m=much"}),
              HasSubstr("head.m is the string \"much\", want a number"));
  EXPECT_THROW(parse("", {"head.m"}), UsageError);
}

TEST(Config, LongTextIsCutBetweenCharacters) {
  std::string text = "head.m=";
  for (int i = 0; i < 100; ++i) text += "\u00e9";
  EXPECT_THAT(refusal("", {text}), HasSubstr("\u00e9\"…, want a number"));
  EXPECT_THROW(parse("", {std::string(200, '\x81')}), UsageError);
}

TEST(Config, MilestonesAscend) {
  EXPECT_THAT(refusal("schedule.milestones = [5, 5]"), HasSubstr("not ascending"));
  EXPECT_THAT(refusal("schedule.kind = \"step\""), HasSubstr("milestones: are empty"));
}

TEST(Config, TheDenseEquivalentUpdateIsSgds) {
  EXPECT_NO_THROW(parse("head.update = \"dense_equivalent\""));
  EXPECT_THAT(refusal("head.update = \"dense_equivalent\"", {"optimizer.kind=adamw"}),
              HasSubstr("head.update: is dense_equivalent, which is SGD's"));
}

TEST(Config, DeepNestingIsRefused) {
  std::string key = "a";
  for (int i = 0; i < 100'000; ++i) key += ".a";
  EXPECT_THAT(refusal(key + " = 1"), HasSubstr("full stops"));
  EXPECT_THAT(refusal(key.substr(0, 4001) + " = 1"), HasSubstr("unknown section"));
  EXPECT_THAT(refusal("a = " + std::string(100'000, '[')), HasSubstr("line 1"));
}

TEST(Config, WrittenTomlReadsBackEqual) {
  Config config;
  config.data.train = "a \"quoted\"\tpath\\with\nall \u00e9";
  config.data.mirror = false;
  config.head.sample_rate = StepwiseNumber({{0, 0.1}, {20'000, 1.0 / 3}});
  config.schedule = {.kind = Decay::kStep, .lr = 1.0 / 3, .warmup = 1e-9, .milestones = {1, 2, 3}};
  config.train.epochs = 0;
  config.train.steps = 1'000'000'000'000;
  config.train.seed = 9223372036854775807u;
  config.eval.sets = {"a.bin", "b, c.bin"};
  EXPECT_EQ(parse(to_toml(config)), config);
  EXPECT_EQ(parse(to_toml(Config{})), Config{});
}

TEST(Config, ReferenceNamesEveryKeyThatIsWritten) {
  const std::string reference = config_reference();
  std::istringstream lines(to_toml(Config{}));
  int keys = 0;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_THAT(reference, HasSubstr(line));
    keys += line.find(" = ") != std::string::npos;
  }
  EXPECT_GT(keys, 35);
}

TEST(Config, ReferenceSaysWhatAResumedRunKeeps) {
  EXPECT_THAT(config_reference(), HasSubstr("length of an embedding; a resumed run keeps it\n"));
  EXPECT_THAT(config_reference(), HasSubstr("the full learning rate\n"));
}

TEST_F(ConfigFiles, AnEmptyFileIsAllDefaults) {
  EXPECT_EQ(load_config(write("a.toml", ""), {}), Config{});
}

TEST_F(ConfigFiles, AFileOverridesItsBaseAndOverridesItAll) {
  write("sub/base.toml", "head.m = 0.1\nhead.scale = 10\ntrain.batch_size = 7\ntrain.epochs = 3");
  write("middle.toml", "base = \"sub/base.toml\"\nhead.m = 0.2\nhead.scale = 20");
  const auto path =
      write("sub/top.toml", "base = \"../middle.toml\"\nhead.m = 0.3\ntrain.steps = 5");
  const Config config = load_config(path, {"head.m=0.35"});
  EXPECT_EQ(config.head.m, 0.35);
  EXPECT_EQ(config.head.scale, 20);
  EXPECT_EQ(config.train.batch_size, 7);
  EXPECT_EQ(config.train.steps, 5);
  EXPECT_EQ(config.train.epochs, 0);
}

TEST_F(ConfigFiles, ABaseThatLeadsBackIsRefused) {
  write("sub/c.toml", "");
  write("a.toml", "base = \"sub/../b.toml\"");
  const auto path = write("b.toml", "\nbase = \"./a.toml\"");
  EXPECT_THAT(refusal_of_file(path),
              HasSubstr("a.toml: line 1: base is \"sub/../b.toml\", which leads back to"));
  EXPECT_THAT(refusal_of_file(write("self.toml", "base = \"self.toml\"")), HasSubstr("leads back"));
}

TEST_F(ConfigFiles, MistakesInABaseNameTheBase) {
  write("base.toml", "\n\nhead.mm = 1");
  EXPECT_THAT(refusal_of_file(write("a.toml", "base = \"base.toml\"")),
              HasSubstr("base.toml: line 3: unknown key"));
}

TEST_F(ConfigFiles, MissingFilesAreNamed) {
  EXPECT_THAT(refusal_of_file(folder_ / "none.toml"), HasSubstr("none.toml: cannot open"));
  EXPECT_THAT(refusal_of_file(folder_.path()), HasSubstr("cannot read"));
  EXPECT_THAT(refusal_of_file(write("a.toml", "base = \"none.toml\"")),
              HasSubstr("a.toml: line 1: base is \"none.toml\", but there is no"));
}

TEST(Config, TextHasNoBase) {
  EXPECT_THAT(refusal("base = \"a.toml\""), HasSubstr("no folder"));
}

}  // namespace
}  // namespace pfc
