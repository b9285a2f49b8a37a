// The program itself: exit statuses and what it prints.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "apps/pfc.h"
#include "python.h"

namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST_F(Pfc, SaysItsVersion) {
  const Outcome outcome = run("--version");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "pfc " PFC_VERSION "\n");
}

TEST_F(Pfc, ThreadsWaitForEachOtherBrieflyUnlessTheUserSaysHow) {
  const auto taken = [&](const std::string& setting) {
    const std::string errors = (folder_ / "err.txt").string();
    const std::string command =
        "env -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY OMP_DISPLAY_ENV=verbose " + setting +
        " '" PFC_BINARY "' --version >/dev/null 2>'" + errors + "'";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return read("err.txt");  // what the OpenMP run time read from its environment
  };
  EXPECT_THAT(taken(""), HasSubstr("GOMP_SPINCOUNT = '10000'"));
  EXPECT_THAT(taken("GOMP_SPINCOUNT=77"), HasSubstr("GOMP_SPINCOUNT = '77'"));
  EXPECT_THAT(taken("OMP_WAIT_POLICY=passive"), HasSubstr("GOMP_SPINCOUNT = '0'"));
}

TEST_F(Pfc, EveryHelpHasAnExample) {
  for (const std::string command : {"",
                                    "train ",
                                    "eval ",
                                    "eval ifrt ",
                                    "eval ijb ",
                                    "eval megaface ",
                                    "eval verification ",
                                    "embed ",
                                    "convert ",
                                    "export ",
                                    "inspect ",
                                    "bench ",
                                    "plan ",
                                    "data ",
                                    "data align ",
                                    "data assemble ",
                                    "data check ",
                                    "data clean ",
                                    "data filter ",
                                    "data info ",
                                    "data merge ",
                                    "data pack ",
                                    "data resize ",
                                    "data shuffle ",
                                    "data split ",
                                    "data synth ",
                                    "data unpack ",
                                    "data verify "}) {
    const Outcome outcome = run(command + "--help");
    EXPECT_EQ(outcome.status, 0) << command;
    EXPECT_THAT(outcome.out, HasSubstr("Example")) << command;
    EXPECT_THAT(outcome.out, HasSubstr("\n  pfc " + command.substr(0, command.find(' '))))
        << command;
    EXPECT_THAT(outcome.err, IsEmpty()) << command;
  }
}

TEST_F(Pfc, HelpOfTrainNamesEveryKey) {
  EXPECT_THAT(run("train --help").out, HasSubstr("\n[head]\n  sample_rate = 1.0"));
}

TEST_F(Pfc, WrongUsageIsStatusTwo) {
  write("run.toml", "");
  expect_failure(run(""), 2, "subcommand");
  expect_failure(run("trian run.toml"), 2, "there is no command \"trian\"; there are train, eval");
  expect_failure(run("train"), 2, "CONFIG");
  expect_failure(run("train run.toml --sett a=b"), 2, "--sett");
  expect_failure(run("train run.toml --set nonsense"), 2, "--set wants key=value");
  expect_failure(run("eval"), 2, "subcommand");
  expect_failure(run("data"), 2, "subcommand");
  expect_failure(run("data synth"), 2, "FOLDER");
  expect_failure(run("eval verification model.safetensors"), 2, "SET");
  expect_failure(run("eval verification model.safetensors a.bin --batch 0"), 2, "--batch");
}

TEST_F(Pfc, FailuresAreStatusOne) {
  write("run.toml", "head.mm = 1\n");
  write("empty.bin", "");
  expect_failure(run("train none.toml"), 1, "none.toml: cannot open");
  expect_failure(run("train run.toml"), 1, "run.toml: line 1: unknown key \"head.mm\"");
  expect_failure(run("eval verification none.safetensors none.bin"), 1, "none.bin");
  expect_failure(run("eval verification none.safetensors empty.bin"), 1, "empty.bin");
}

TEST_F(Pfc, RefusesAHeadThatCannotFit) {
  const Outcome outcome = run("bench --identities 2000000000 --rates 0.1");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("pfc: the head does not fit: 2,000,000,000 class centres"));
  EXPECT_THAT(outcome.err, HasSubstr("bfloat16"));
}

TEST_F(Pfc, PlansARunWithoutRunningIt) {
  const Outcome outcome = run("plan --identities 100000000 --ranks 64 --device 2080ti");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("fits, "));
  EXPECT_THAT(outcome.out, HasSubstr("images/s\n"));
  const Outcome small = run("plan --identities 100000000 --ranks 64 --gpu-memory 9");
  EXPECT_EQ(small.status, 0) << small.err;
  EXPECT_THAT(small.out, HasSubstr("too much\n  it would fit with\n    centres and their optim"));
  expect_failure(run("plan --batch 1001"), 1, "a batch of 1,001 does not divide");
  expect_failure(run("plan --device gpu"), 1, "device \"gpu\" is unknown; known are v100");
}

TEST_F(Pfc, PlansATableOnDisk) {
  const std::string plan =
      "plan --identities 100000000 --rate 0.001 --batch 128 --network tiny --ranks 1 ";
  const Outcome outcome = run(plan + "--device cpu --center-memory disk");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("NVMe drive as assumed, not measured"));
  EXPECT_THAT(outcome.out, testing::ContainsRegex("class centres and optimizer +409.600 GB"));
  const Outcome slow = run(plan + "--device a100 --center-memory disk");
  EXPECT_THAT(slow.out, HasSubstr("the disk is too slow"));
  expect_failure(run(plan + "--disk /"), 2, "--disk wants --measure and --center-memory disk");
}

TEST_F(Pfc, OverridesReachTheConfiguration) {
  write("run.toml", "");
  expect_failure(run("train run.toml --set eval.sets='[\"none.bin\"]' --set data.train=none.rec"),
                 1, "none.bin");
  expect_failure(run("train run.toml --set data.train=none.rec"), 1, "none.rec");
}

TEST_F(Pfc, DrawsFacesAndSaysHowToTrainOnThem) {
  const std::string synth = "data synth faces --identities 3 --images 2 --unseen 2 --pairs 20";
  const Outcome outcome = run(synth);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("faces/train.rec: 6 images of 3 identities\n"));
  EXPECT_THAT(outcome.out, HasSubstr("pfc train configs/faces_tiny.toml --set data.train=faces/"));
  EXPECT_THAT(outcome.err, HasSubstr("46 of 46 images"));
  for (const std::string file : {"train.rec", "train.idx", "property", "unseen.bin", "faces.png"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "faces" / file)) << file;
  }
  expect_failure(run(synth), 1, "faces/train.rec is there already");
}

TEST_F(Pfc, TrainsEvaluatesEmbedsAndExportsWhatItHasDrawn) {
  write("run.toml",
        "output = 'run'\ndata.train = 'faces'\nmodel.network = 'tiny'\neval.sets = "
        "'faces/unseen.bin'\n"
        "train = { batch_size = 6, steps = 1, threads = 1 }\n");
  ASSERT_EQ(run("data synth faces --identities 3 --images 2 --unseen 2 --pairs 20").status, 0);
  const Outcome trained = run("train run.toml");
  ASSERT_EQ(trained.status, 0) << trained.err;
  EXPECT_THAT(trained.err, HasSubstr("the network is run/last.safetensors"));

  const Outcome evaluated = run("eval verification run/last.safetensors faces/unseen.bin");
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  EXPECT_THAT(evaluated.out, HasSubstr("unseen"));

  const Outcome embedded = run("embed run/last.safetensors faces -o rows.npy");
  EXPECT_EQ(embedded.status, 0) << embedded.err;
  EXPECT_EQ(embedded.out, "6 embeddings in rows.npy, their names in rows.txt\n");
  EXPECT_EQ(std::filesystem::file_size(folder_ / "rows.npy"), 128u + 6 * 512 * 4);
  EXPECT_THAT(read("rows.txt"), StartsWith("0/"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "rows.norms.npy"));
  EXPECT_EQ(run("embed run/last.safetensors faces -o rows.npy --norms").out,
            "6 embeddings in rows.npy, their names in rows.txt, their lengths in rows.norms.npy\n");
  const std::string rows = read("rows.npy"), lengths = read("rows.norms.npy");
  ASSERT_EQ(lengths.size(), 128u + 6 * 4);
  const auto number = [](const std::string& npy, std::size_t i) {
    float value = 0;
    std::memcpy(&value, npy.data() + 128 + sizeof(float) * i, sizeof(float));
    return value;
  };
  for (std::size_t row = 0; row < 6; ++row) {
    double squares = 0;
    for (std::size_t i = 0; i < 512; ++i) squares += std::pow(number(rows, 512 * row + i), 2);
    EXPECT_NEAR(number(lengths, row), std::sqrt(squares), 1e-5 * std::sqrt(squares));
  }

  const Outcome converted = run("convert run/last.safetensors last.pth");
  EXPECT_EQ(converted.status, 0) << converted.err;
  EXPECT_EQ(converted.out, "last.pth: tiny of embedding size 512, 145 tensors, 14.5 MB\n");
  EXPECT_EQ(run("convert last.pth back.safetensors").status, 0);
  EXPECT_EQ(read("back.safetensors"), read("run/last.safetensors"));
  EXPECT_EQ(run("embed last.pth faces -o same.npy").status, 0);
  EXPECT_EQ(read("same.npy"), read("rows.npy"));

  const Outcome exported = run("export run/last.safetensors last.onnx");
  EXPECT_EQ(exported.status, 0) << exported.err;
  EXPECT_THAT(exported.out, StartsWith("last.onnx: tiny, 3,"));
  EXPECT_THAT(exported.out, EndsWith(" MB\n"));
  const Outcome printed = run("export run/last.safetensors /dev/stdout");
  EXPECT_EQ(printed.out, read("last.onnx"));
  EXPECT_THAT(printed.err, HasSubstr("/dev/stdout: tiny, 3,"));

  EXPECT_THAT(run("inspect last.onnx").out, HasSubstr("input data [N, 3, 112, 112]"));
  EXPECT_THAT(run("convert last.onnx again.safetensors").out,
              StartsWith("again.safetensors: tiny of embedding size "));
  EXPECT_THAT(
      run("inspect last.pth").out,
      testing::AllOf(HasSubstr("a network: tiny, embeddings of 512\n"), HasSubstr("fc.weight")));
  EXPECT_THAT(run("inspect run/last.safetensors").out, HasSubstr("network = tiny"));
  EXPECT_THAT(run("inspect faces").out, HasSubstr("6 images of 3 identities"));
  EXPECT_THAT(run("inspect faces/train.rec").out, HasSubstr("first image: key 1, 112 x 112"));
  EXPECT_THAT(run("inspect faces/unseen.bin").out, HasSubstr("20 pairs, 10 of one person"));
  EXPECT_THAT(run("inspect run").out, HasSubstr("1 checkpoint\n  run/checkpoints/step-000000001"));
  EXPECT_THAT(run("inspect run.toml").out, HasSubstr("run.toml: a text that begins"));

  // faces.png is a picture, but no face of 112 x 112.
  const Outcome none = run("embed run/last.safetensors faces/faces.png");
  EXPECT_EQ(none.status, 1);
  EXPECT_THAT(none.err, HasSubstr("left out: faces.png: "));
  EXPECT_THAT(none.err, EndsWith("none of 1 image could be embedded; embeddings.left_out.txt says "
                                 "why\n"));
  EXPECT_THAT(read("embeddings.left_out.txt"), StartsWith("faces.png\t"));
}

TEST_F(Pfc, ConvertsTheCentresAndTheNetworkOfTheFieldsCheckpoints) {
  const pfc::Python python("torch");
  if (!python) GTEST_SKIP() << python.why_not();
  write("run.toml",
        "output = 'run'\ndata.train = 'faces'\nmodel.network = 'tiny'\n"
        "train = { batch_size = 6, steps = 1, threads = 1 }\n");
  ASSERT_EQ(run("data synth faces --identities 3 --images 2 --unseen 2 --pairs 20").status, 0);
  ASSERT_EQ(run("train run.toml").status, 0);
  ASSERT_EQ(run("convert run/last.safetensors last.pth").status, 0);
  python.run(R"(
import collections, sys, torch
folder = sys.argv[1] + '/'
backbone = torch.load(folder + 'last.pth', weights_only=True)
for rank, rows in enumerate([3, 2, 2]):
    torch.save({'epoch': 1, 'global_step': 7, 'state_dict_backbone': backbone,
                'state_dict_softmax_fc': {'weight': torch.full((rows, 4), float(rank))},
                'state_optimizer': {'state': {}, 'param_groups': [{'lr': 0.1}]},
                'state_lr_scheduler': {'milestones': collections.Counter([10, 20])}},
               folder + f'checkpoint_gpu_{rank}.pt')
)",
             folder_.path());
  const Outcome outcome = run("convert . converted");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(
      outcome.out,
      "converted: 7 class centres of size 4 in 3 files, 112 bytes; tiny of embedding size 512, "
      "145 tensors, 14.5 MB\n");
  EXPECT_EQ(read("converted/backbone.safetensors"), read("run/last.safetensors"));
  EXPECT_THAT(read("converted/centers-00002-of-00003.safetensors"), HasSubstr("first_class"));
  const Outcome checkpoint = run("inspect checkpoint_gpu_0.pt");
  EXPECT_EQ(checkpoint.status, 0) << checkpoint.err;
  EXPECT_THAT(checkpoint.out, HasSubstr("PyTorch, the keys 'epoch' 'global_step' "));
  EXPECT_THAT(checkpoint.out, HasSubstr("146 tensors"));
  EXPECT_THAT(checkpoint.out, HasSubstr("a network: tiny, embeddings of 512"));
  EXPECT_THAT(checkpoint.out, HasSubstr("under 'state_dict_softmax_fc': 1 tensor, "));
  const Outcome folder = run("inspect converted");
  EXPECT_EQ(folder.status, 0) << folder.err;
  EXPECT_THAT(folder.out, HasSubstr("converted/centers-00001-of-00003.safetensors: safetensors"));
  EXPECT_THAT(folder.out, HasSubstr("first_class = 3"));
  std::filesystem::remove(folder_ / "checkpoint_gpu_1.pt");
  expect_failure(run("convert . converted"), 1,
                 "checkpoint_gpu_1.pt is missing; the ranks go to 2");
}

TEST_F(Pfc, InspectFindsWhatIsNotWholeInACheckpoint) {
  write("run.toml",
        "output = 'run'\ndata.train = 'faces'\nmodel.network = 'tiny'\n"
        "train = { batch_size = 6, steps = 1, threads = 1 }\n");
  ASSERT_EQ(run("data synth faces --identities 3 --images 2 --unseen 2 --pairs 20").status, 0);
  ASSERT_EQ(run("train run.toml").status, 0);
  const std::string checkpoint = "run/checkpoints/step-000000001";
  const Outcome whole = run("inspect " + checkpoint);
  EXPECT_EQ(whole.status, 0) << whole.err;
  EXPECT_THAT(whole.out, HasSubstr("checkpoint after step 1, saved by 1 rank"));
  EXPECT_THAT(whole.out, HasSubstr("network = "));
  std::string bytes = read(checkpoint + "/backbone.safetensors");
  bytes.back() ^= 1;
  write(checkpoint + "/backbone.safetensors", bytes);
  const Outcome altered = run("inspect " + checkpoint);
  EXPECT_EQ(altered.status, 1);
  EXPECT_THAT(altered.out, HasSubstr("NOT WHOLE"));
  EXPECT_THAT(altered.err, EndsWith("is damaged; --resume would take the checkpoint before it\n"));
}

TEST_F(Pfc, AFileOfTheWrongKindIsToldByEachCommandThatReadsIt) {
  write("page", "<!DOCTYPE html>\n<html><body>Sign in to download</body></html>\n");
  write("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  write("net.onnx", "\x08\x06\x12\x07pytorch");
  write("empty", "");
  const std::pair<std::string, std::string> kinds[] = {
      {"page", "found an HTML page, want"},
      {"pointer", "found a pointer of Git LFS in place of the file, want"},
      {"net.onnx", "found an ONNX network, want"},
      {"empty", "found an empty file, want"}};
  for (const auto& [file, words] : kinds) {
    const std::string as_network =
        file == "net.onnx" ? "no version and graph, so not an ONNX model" : words + " a network";
    expect_failure(run("convert " + file + " out.safetensors"), 1, as_network);
    expect_failure(run("export " + file + " out.onnx"), 1, as_network);
    expect_failure(run("data info " + file), 1, words + " a .rec");
    expect_failure(run("eval verification " + file + " " + file), 1, words + " a verification set");
    const Outcome said = run("inspect " + file);
    EXPECT_EQ(said.status, file == "net.onnx" ? 1 : 0) << said.err;  // its rest is missing
  }
  expect_failure(run("train page"), 1, "found an HTML page, want a text in TOML");
  std::filesystem::create_directory(folder_ / "folder");
  expect_failure(run("export folder out.onnx"), 1, "folder: is a folder, want a file");
  expect_failure(run("eval megaface folder --model page"), 1,
                 "folder: has no facescrub_lst, the list of its images; give your list with "
                 "--probe-list");
}

TEST_F(Pfc, ConvertRefusesWhatItCannotTell) {
  write("model.pth", "");
  expect_failure(run("convert model.pth"), 2, "OUT");
  expect_failure(run("convert model.pth model.pth"), 2, "the same, \"model.pth\"");
  expect_failure(run("export model.pth ./model.pth"), 2, "the same, \"./model.pth\"");
  expect_failure(run("data verify model.pth --list model.pth"), 2, "the same, \"model.pth\"");
  EXPECT_EQ(read("model.pth"), "");
  expect_failure(run("convert model.pth model.onnx"), 2, "ends in .safetensors, .pth or .pt");
  expect_failure(run("convert model.pth model.safetensors --network r51"), 2, "r51 not in {r18,");
  expect_failure(run("convert none.pth model.safetensors"), 1, "none.pth: cannot open");
  expect_failure(run("convert model.pth model.safetensors"), 1, "model.pth: ");
}

TEST_F(Pfc, MeasuresTheHeadForEachRate) {
  const Outcome outcome =
      run("bench --identities 2000 --rates 1 0.1 --batch 8 --dim 16 --steps 1 --threads 1");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("model parallel"));
  EXPECT_THAT(outcome.out, HasSubstr("Partial FC 0.1"));
}

TEST_F(Pfc, MeasuresTrainingWithABatchOfItsOwnForEachRate) {
  const Outcome outcome =
      run("bench --identities 200 --rates 1 0.5 --batch 4 8 --network tiny --dim 16 --steps 1 "
          "--threads 1");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::ContainsRegex("model parallel +1 +4 +200 "));
  EXPECT_THAT(outcome.out, testing::ContainsRegex("Partial FC 0.5 +1 +8 +10"));
  expect_failure(run("bench --rates 1 0.5 --batch 1 2 3"), 2, "one for each of --rates");
}

TEST_F(Pfc, BenchAndPlanRefuseANetworkThatThereIsNotBeforeTheyBegin) {
  for (const char* command : {"bench", "plan --measure"}) {
    const Outcome outcome = run(std::string(command) + " --network r51");
    expect_failure(outcome, 2, "r51 not in {r18,r34,r50,");
    EXPECT_EQ(outcome.out, "") << command;
  }
}

TEST_F(Pfc, AFullOutputIsAFailure) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const int status = std::system("'" PFC_BINARY "' --version >/dev/full 2>/dev/null");
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST_F(Pfc, AnOutputThatCannotBeWrittenIsToldBeforeAnInputIsLookedAt) {
  for (const char* command :
       {"embed none none -o no/out", "export none no/out", "convert none no/out.pth",
        "eval verification none none --roc no/out", "eval ijb none --model none --report no/out",
        "eval ifrt none --model none --json no/out", "data info none --sheet no/out",
        "data verify none --list no/out", "data pack none -o no/out.bin",
        "data resize none.bin -o no/out.bin"}) {
    expect_failure(run(command), 1, "cannot be written: there is no folder no, make it first");
  }
  expect_failure(run("embed none none -o rows.txt"), 2, "rows.txt: the names would be written");
  for (const std::string device : {"/dev/null", "/dev/stdout"})
    expect_failure(run("embed none none -o " + device), 1,
                   device + ": cannot be written: it is a device or a pipe");
  write("file", "");
  for (const std::string& command : std::vector<std::string>{
           "data align none --landmarks none", "data assemble . --set none", "data clean none none",
           "data filter none", "data merge none", "data pack none", "data resize none",
           "data shuffle none", "data split none --identities 2", "data unpack none"}) {
    expect_failure(run(command + " -o file/out"), 1, "file/out");
  }
}

TEST_F(Pfc, OfSeveralSetsAllAreOpenedBeforeTheFirstIsRead) {
  ASSERT_EQ(run("data synth faces --identities 2 --images 1 --unseen 2 --pairs 20").status, 0);
  for (const char* command : {"data merge faces none -o both", "data unpack faces none -o photos"})
    expect_failure(run(command), 1, "none");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "photos.partial"));
}

}  // namespace
