#include "data/exclusion_list.h"

#include <gmock/gmock.h>

#include <set>
#include <thread>
#include <vector>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

std::set<std::string> keys_in(const std::filesystem::path& file, std::string_view source) {
  std::set<std::string> keys;
  ExclusionList(file, source).for_each([&](const std::string& key) { keys.insert(key); });
  return keys;
}

using Keys = std::set<std::string>;

TEST(ExclusionList, IsReadBack) {
  const TemporaryFolder folder;
  const auto file = folder / "a.pfcbad";
  EXPECT_EQ(keys_in(file, "v1"), Keys{});
  {
    ExclusionList list(file, "v1");
    list.add("12", "truncated JPEG");
    list.add("3", "of two\nlines\tand a tab");
    list.add("12", "again");
  }
  EXPECT_EQ(keys_in(file, "v1"), (Keys{"12", "3"}));
  EXPECT_EQ(read_file(file), "pfcbad 1 v1\n12\ttruncated JPEG\n3\tof two?lines?and a tab\n");
}

TEST(ExclusionList, OfAnotherSourceIsBegunAnew) {
  const TemporaryFolder folder;
  const auto file = folder / "a.pfcbad";
  ExclusionList(file, "v1").add("12", "x");
  EXPECT_EQ(keys_in(file, "v2"), Keys{});
  ExclusionList(file, "v2").add("5", "x");
  EXPECT_EQ(keys_in(file, "v1"), Keys{});
  EXPECT_EQ(keys_in(file, "v2"), Keys{"5"});
}

TEST(ExclusionList, SurvivesATornLine) {
  const TemporaryFolder folder;
  const auto file = folder / "a.pfcbad";
  write_text(file, "pfcbad 1 v1\n7\tx\n12");  // of 123, perhaps
  EXPECT_EQ(keys_in(file, "v1"), Keys{"7"});
  ExclusionList(file, "v1").add("8", "x");
  EXPECT_EQ(keys_in(file, "v1"), (Keys{"7", "8"}));
  write_text(file, "pfcbad 1 v");  // a torn header
  ExclusionList(file, "v1").add("9", "x");
  EXPECT_EQ(keys_in(file, "v1"), Keys{"9"});
}

TEST(ExclusionList, TakesKeysFromManyThreadsAndProcessesAtOnce) {
  const TemporaryFolder folder;
  const auto file = folder / "a.pfcbad";
  write_text(file, "pfcbad 1 an older source\n1\tx\n");
  // Each list opens the file itself, as another process would.
  ExclusionList lists[] = {{file, "v1"}, {file, "v1"}, {file, "v1"}};
  std::vector<std::thread> threads;
  Keys expected;
  for (int t = 0; t < 6; ++t) {
    for (int i = 0; i < 50; ++i) expected.insert(std::to_string(t * 100 + i));
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) lists[t % 3].add(std::to_string(t * 100 + i), "reason");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(keys_in(file, "v1"), expected);
  const std::string text = read_file(file);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 301);
}

TEST(ExclusionList, AListThatCannotBeReadIsNotAnEmptyOne) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("/proc/self/mem", folder / "a.pfcbad");  // reading it is EIO
  EXPECT_THAT([&] { ExclusionList(folder / "a.pfcbad", "v1"); },
              testing::ThrowsMessage<IoError>(testing::HasSubstr("a.pfcbad: cannot read")));
}

TEST(ExclusionList, KeepsWhatItCannotWriteInMemory) {
  const TemporaryFolder folder;
  ExclusionList list(folder / "missing" / "a.pfcbad", "v1");
  EXPECT_NO_THROW(list.add("1", "x"));
  EXPECT_FALSE(list.empty());
}

}  // namespace
}  // namespace pfc
