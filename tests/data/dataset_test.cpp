#include "pfc/data/dataset.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>

#include "data/record_bytes.h"
#include "data/record_file.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<std::int32_t> labels_of(const Dataset& set) {
  return {set.labels().begin(), set.labels().end()};
}

std::vector<std::string> keys_of(const Dataset& set) {
  std::vector<std::string> keys;
  for (std::int64_t i = 0; i < set.size(); ++i) keys.push_back(set.key(i));
  return keys;
}

std::string image_of(const Dataset& set, std::int64_t index) {
  std::vector<std::byte> scratch;
  return text_of(set.image(index, scratch));
}

auto opening(const DatasetOptions& options) {
  return [options] { open_dataset(options); };
}

/// Identities with the given numbers of images; image k (a key) holds "image k".
void write_rec(const fs::path& rec, const std::vector<int>& images) {
  FaceRecordWriter writer(rec);
  int key = 1;
  for (std::size_t c = 0; c < images.size(); ++c) {
    for (int i = 0; i < images[c]; ++i) {
      writer.add(static_cast<std::int32_t>(c), bytes_of("image " + std::to_string(key++)));
    }
  }
  writer.commit();
}

/// Changes a byte of a file in place. With `quietly`, its size and time do not change.
void change_byte(const fs::path& file, std::size_t offset, bool quietly) {
  struct stat info {};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  {
    std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
    stream.seekg(static_cast<std::streamoff>(offset));
    const int byte = stream.get();
    stream.seekp(static_cast<std::streamoff>(offset));
    stream.put(static_cast<char>(byte ^ 1));
  }
  const timespec times[] = {info.st_atim, info.st_mtim};
  if (quietly) {
    ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
  }
}

TEST(RecDataset, RemembersWhatTheFileCallsEachClass) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {1, 2, 1, 3, 2, 1});
  const auto identities = [&](int min_images) {
    return open_dataset({.path = folder.path(), .min_images = min_images})->class_identities();
  };
  EXPECT_EQ(identities(1), (ClassIdentities{.classes = 6}));
  EXPECT_EQ(identities(2), (ClassIdentities{.classes = 3, .numbers = {1, 3, 4}, .below = 6}));
  open_dataset({.path = folder.path()})->exclude(0, "broken");  // the first one's only image
  EXPECT_EQ(identities(1), (ClassIdentities{.classes = 5, .numbers = {1, 2, 3, 4, 5}, .below = 6}));
}

TEST(FolderDataset, RemembersWhichFolderIsEachClass) {
  const TemporaryFolder folder;
  for (const char* image : {"bo/1.jpg", "ann/1.jpg", "ann/2.jpg", "cy/1.jpg", "cy/2.jpg"})
    write_text(folder / "people" / image, image);
  std::filesystem::create_directory(folder / "people" / "abe");
  EXPECT_THAT(open_dataset({.path = folder / "people"})->class_identities().names,
              ElementsAre("ann", "bo", "cy"));
  EXPECT_THAT(open_dataset({.path = folder / "people", .min_images = 2})->class_identities().names,
              ElementsAre("ann", "cy"));
  for (const char* image : {"id_2/1.jpg", "id_10/1.jpg", "id_11/1.jpg", "id_11/2.jpg"})
    write_text(folder / "unpacked" / image, image);
  EXPECT_EQ(open_dataset({.path = folder / "unpacked"})->class_identities(),
            (ClassIdentities{.classes = 3, .numbers = {10, 11, 2}, .below = 12}));
  write_text(folder / "unpacked" / "id_02" / "1.jpg", "another person");
  EXPECT_THAT(open_dataset({.path = folder / "unpacked"})->class_identities().names,
              ElementsAre("id_02", "id_10", "id_11", "id_2"));
}

TEST(RecDataset, HasEveryImageInTheOrderOfItsKey) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2, 1, 3});
  for (const fs::path& path : {folder.path(), folder / "train.rec", folder / ""}) {
    const auto set = open_dataset({.path = path});
    EXPECT_THAT(labels_of(*set), ElementsAre(0, 0, 1, 2, 2, 2));
    EXPECT_EQ(set->identities(), 3);
    EXPECT_EQ(set->summary().images_found, 6);
    EXPECT_EQ(set->summary().identities_found, 3);
    EXPECT_EQ(set->key(4), "5");
    EXPECT_EQ(image_of(*set, 4), "image 5");
  }
}

TEST(RecDataset, DropsIdentitiesWithFewImagesAndRenumbers) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2, 1, 3});
  const auto set = open_dataset({.path = folder.path(), .min_images = 2});
  EXPECT_THAT(labels_of(*set), ElementsAre(0, 0, 1, 1, 1));
  EXPECT_THAT(keys_of(*set), ElementsAre("1", "2", "4", "5", "6"));
  EXPECT_EQ(image_of(*set, 2), "image 4");
  EXPECT_EQ(set->identities(), 2);
  EXPECT_EQ(set->summary().identities_dropped, 1);
  EXPECT_EQ(set->summary().images_dropped, 1);
  EXPECT_THAT(opening({.path = folder.path(), .min_images = 4}),
              ThrowsMessage<Error>(
                  HasSubstr("no identity has 4 images or more, found 6 images of 3 identities")));
  EXPECT_THAT(opening({.path = folder.path(), .min_images = 0}),
              ThrowsMessage<Error>(HasSubstr("want 1 or more")));
}

TEST(RecDataset, RenumbersLabelsWithGaps) {
  const TemporaryFolder folder;
  RecordBytes file;
  file.add_image(0, 7);
  file.add_image(1, 16777216);
  file.add_image(2, 7);
  write_text(folder / "train.rec", text_of(file.bytes));
  write_text(folder / "train.idx", file.idx());
  const auto set = open_dataset({.path = folder.path()});
  EXPECT_THAT(labels_of(*set), ElementsAre(0, 1, 0));
  EXPECT_EQ(set->summary().identities_found, 2);
  EXPECT_EQ(set->summary().identities_dropped, 0);
}

TEST(RecDataset, LeavesOutWhatDidNotDecodeBeforeCountingImages) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2, 1, 3});
  {
    const auto set = open_dataset({.path = folder.path(), .min_images = 2});
    set->exclude(0, "truncated JPEG");  // key 1
    set->exclude(4, "truncated JPEG");  // key 6
  }
  const auto set = open_dataset({.path = folder.path(), .min_images = 2});
  EXPECT_THAT(keys_of(*set), ElementsAre("4", "5"));
  EXPECT_THAT(labels_of(*set), ElementsAre(0, 0));
  EXPECT_EQ(image_of(*set, 1), "image 5");
  EXPECT_EQ(set->summary().images_found, 6);
  EXPECT_EQ(set->summary().images_excluded, 2);
  EXPECT_EQ(set->summary().identities_dropped, 2);
  EXPECT_EQ(set->summary().images_dropped, 2);
  write_rec(folder / "train.rec", {2, 1, 3, 1});  // another file: its images are tried
  EXPECT_EQ(open_dataset({.path = folder.path()})->summary().images_excluded, 0);
}

TEST(RecDataset, ComesInFileOrderWhereThatIsWanted) {
  const TemporaryFolder folder;
  RecordBytes rec;
  for (const std::uint32_t key : {4u, 1u, 5u, 3u, 2u}) rec.add_image(key, key < 3 ? 0 : 1);
  rec.add_range(6, 1, 3);
  rec.add_range(7, 3, 6);
  rec.add_range(0, 6, 8);
  AtomicFile file(folder / "train.rec");
  file.write(rec.bytes);
  file.commit();
  write_file(folder / "train.idx", rec.idx());
  EXPECT_THAT(keys_of(*open_dataset({.path = folder.path()})),
              ElementsAre("1", "2", "3", "4", "5"));

  const auto set = open_dataset({.path = folder.path(), .file_order = true});
  EXPECT_THAT(keys_of(*set), ElementsAre("4", "1", "5", "3", "2"));
  EXPECT_THAT(labels_of(*set), ElementsAre(1, 0, 1, 1, 0));
  EXPECT_EQ(image_of(*set, 3), "image 3");
  set->will_need(0, 5);
  set->will_need(4, 1);

  set->exclude(2, "does not decode");
  EXPECT_THAT(keys_of(*open_dataset({.path = folder.path(), .file_order = true})),
              ElementsAre("4", "1", "3", "2"));
}

TEST(RecDataset, NeedsNoIdx) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2, 1, 3});
  fs::remove(folder / "train.idx");
  const auto set = open_dataset({.path = folder.path()});
  EXPECT_THAT(labels_of(*set), ElementsAre(0, 0, 1, 2, 2, 2));
  EXPECT_EQ(image_of(*set, 5), "image 6");
}

TEST(RecDataset, IsCheckedAgainstProperty) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2, 1});
  EXPECT_NO_THROW(open_dataset({.path = folder.path()}));
  write_text(folder / "property", "3,112,112\n");  // checked with a cached index, too
  EXPECT_THAT(opening({.path = folder.path()}),
              ThrowsMessage<DataError>(HasSubstr("property: line 1: 3 identities")));
  fs::remove(folder / "property");
  EXPECT_NO_THROW(open_dataset({.path = folder.path()}));
}

TEST(RecDataset, SaysWhereItsImageIsNot) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2});
  open_dataset({.path = folder.path()});
  change_byte(folder / "train.rec", 40, true);  // the second record's magic
  const auto set = open_dataset({.path = folder.path()});
  EXPECT_EQ(image_of(*set, 0), "image 1");
  EXPECT_THAT([&] { image_of(*set, 1); },
              ThrowsMessage<DataError>(HasSubstr("train.rec: offset 40: magic 0x")));
}

TEST(RecDataset, ReadsTheCachedIndexInsteadOfTheFile) {
  const TemporaryFolder folder;
  constexpr int kIdentities = 2'000;
  write_rec(folder / "train.rec", std::vector<int>(kIdentities, 100));
  const auto first = open_dataset({.path = folder.path()});
  EXPECT_EQ(first->size(), 200'000);
  // Broken without the cache noticing: only a scan can find it.
  change_byte(folder / "train.rec", 0, true);
  const auto second = open_dataset({.path = folder.path()});
  EXPECT_EQ(labels_of(*second), labels_of(*first));
  EXPECT_EQ(second->key(123'456), "123457");
  EXPECT_EQ(image_of(*second, 123'456), "image 123457");
  fs::remove(folder / "train.rec.pfcidx");
  EXPECT_THAT(opening({.path = folder.path()}), ThrowsMessage<DataError>(HasSubstr("key 1: ")));
}

TEST(RecDataset, RebuildsACacheThatIsAlteredTruncatedOrStale) {
  const TemporaryFolder folder;
  const auto cache = folder / "train.rec.pfcidx";
  write_rec(folder / "train.rec", {2, 1, 3});
  open_dataset({.path = folder.path()});
  const std::string whole = read_file(cache);
  for (const std::size_t offset :
       {std::size_t{0}, std::size_t{40}, std::size_t{80}, whole.size() - 1}) {
    change_byte(cache, offset, true);
    EXPECT_THAT(labels_of(*open_dataset({.path = folder.path()})), ElementsAre(0, 0, 1, 2, 2, 2));
    EXPECT_EQ(read_file(cache), whole);
  }
  fs::resize_file(cache, whole.size() - 4);
  EXPECT_EQ(open_dataset({.path = folder.path()})->size(), 6);
  EXPECT_EQ(read_file(cache), whole);
  write_text(cache, "");
  EXPECT_EQ(open_dataset({.path = folder.path()})->size(), 6);
  EXPECT_EQ(read_file(cache), whole);
  change_byte(folder / "train.rec", 0, false);  // noticed by the file's time
  EXPECT_THROW(open_dataset({.path = folder.path()}), DataError);
}

TEST(RecDataset, WhoOnlyLooksAtItLeavesItsFolderAsItIs) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2, 1});
  EXPECT_EQ(open_dataset({.path = folder.path(), .write_beside_data = false})->size(), 3);
  EXPECT_FALSE(fs::exists(folder / "train.rec.pfcidx"));
  open_dataset({.path = folder.path(), .cache_dir = folder / "c", .write_beside_data = false});
  EXPECT_FALSE(fs::is_empty(folder / "c"));
}

TEST(RecDataset, WorksWhereTheCacheCannotBeWritten) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2, 1});
  fs::create_directory(folder / "train.rec.pfcidx");  // blocks the name, even for the superuser
  fs::create_directory(folder / "train.rec.pfcbad");
  const auto set = open_dataset({.path = folder.path()});
  EXPECT_EQ(set->size(), 3);
  EXPECT_NO_THROW(set->exclude(0, "x"));
  EXPECT_EQ(open_dataset({.path = folder.path()})->size(), 3);
}

TEST(RecDataset, KeepsItsCacheWhereItIsTold) {
  const TemporaryFolder folder;
  const auto cache = folder / "cache/deeper";
  const DatasetOptions a{.path = folder / "a", .cache_dir = cache};
  const DatasetOptions b{.path = folder / "b", .cache_dir = cache};
  fs::create_directory(a.path);
  fs::create_directory(b.path);
  write_rec(a.path / "train.rec", {2, 1});
  write_rec(b.path / "train.rec", {1, 1});
  open_dataset(a)->exclude(0, "x");
  EXPECT_EQ(open_dataset(b)->size(), 2);
  // Two sets with the same file name share a cache folder: neither cache was overwritten.
  change_byte(a.path / "train.rec", 0, true);
  change_byte(b.path / "train.rec", 0, true);
  EXPECT_EQ(open_dataset(a)->size(), 2);
  EXPECT_EQ(open_dataset(b)->size(), 2);
  EXPECT_EQ(open_dataset(b)->summary().images_excluded, 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(a.path), fs::directory_iterator()), 3);
  write_text(folder / "file", "");
  EXPECT_THROW(open_dataset({.path = a.path, .cache_dir = folder / "file"}), Error);
}

TEST(RecDataset, RefusesACacheThatCannotBeWrittenBeforeItScans) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2, 1});
  const DatasetOptions options{.path = folder.path(), .cache_dir = folder / "c"};
  open_dataset(options);
  const fs::path cache = *fs::directory_iterator(options.cache_dir);
  fs::remove(cache);
  fs::create_directory(cache);
  change_byte(folder / "train.rec", 0, true);  // a scan would say so
  EXPECT_THAT(opening(options),
              ThrowsMessage<Error>(HasSubstr("cannot be written: it is a folder")));
}

TEST(RecDataset, ACacheThatCannotBeReadIsNotTakenForNone) {
  const TemporaryFolder folder;
  write_rec(folder / "train.rec", {2, 1});
  fs::remove(folder / "train.idx");
  open_dataset({.path = folder.path()});
  const RecordFile file(folder / "train.rec");
  try {  // a sanitizer inspects the types of a first error, and needs descriptors for that
    read_file(folder / "train.rec/none");
  } catch (const IoError& error) {
    EXPECT_TRUE(error.not_found());
  }
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  std::exception_ptr failure;  // examined later, for the same reason
  try {
    file.index({}, true);
  } catch (...) {
    failure = std::current_exception();
  }
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(failure);
  EXPECT_THAT([&] { std::rethrow_exception(failure); },
              ThrowsMessage<IoError>(HasSubstr("train.rec.pfcidx: cannot open")));
}

TEST(FolderDataset, TakesAnIdentityFromEveryFolder) {
  const TemporaryFolder folder;
  for (const char* name : {"bob/2.png", "bob/1.JPG", "ann/x.jpeg", "carl/notes.txt",
                           "bob/.hidden.jpg", ".cache/1.jpg", "stray.jpg", "dora/1.jpg"}) {
    write_text(folder / name, name);
  }
  const auto set = open_dataset({.path = folder / ""});
  EXPECT_THAT(keys_of(*set), ElementsAre("ann/x.jpeg", "bob/1.JPG", "bob/2.png", "dora/1.jpg"));
  EXPECT_THAT(labels_of(*set), ElementsAre(0, 1, 1, 2));
  EXPECT_EQ(image_of(*set, 1), "bob/1.JPG");
  EXPECT_EQ(set->identities(), 3);
  EXPECT_EQ(set->summary().passed_over,
            "1 file that is no JPEG, PNG, WebP or BMP (carl/notes.txt), 2 hidden files (.cache, "
            "bob/.hidden.jpg), 1 "
            "folder without an image (carl), 1 image beside the people's folders (stray.jpg)");
  const auto two = open_dataset({.path = folder.path(), .min_images = 2});
  EXPECT_THAT(keys_of(*two), ElementsAre("bob/1.JPG", "bob/2.png"));
  EXPECT_EQ(two->summary().identities_dropped, 2);
}

TEST(FolderDataset, TakesPeopleAtAnyDepth) {
  const TemporaryFolder folder;  // one level too high, and people in groups
  for (const char* name :
       {"faces/asia/p1/1.webp", "faces/asia/p2/1.bmp", "faces/p3/1.JFIF", "faces/p3/2.jpe"})
    write_text(folder / name, name);
  const auto set = open_dataset({.path = folder.path(), .cache_dir = folder / "faces/asia/p1"});
  EXPECT_THAT(keys_of(*set), ElementsAre("faces/asia/p1/1.webp", "faces/asia/p2/1.bmp",
                                         "faces/p3/1.JFIF", "faces/p3/2.jpe"));
  EXPECT_THAT(labels_of(*set), ElementsAre(0, 1, 2, 2));
}

TEST(FolderDataset, LeavesOutWhatDidNotDecodeUntilItIsReplaced) {
  const TemporaryFolder folder;
  const auto faces = folder / "faces";
  for (const char* name : {"ann/1.jpg", "ann/2.jpg", "bob/1.jpg"}) write_text(faces / name, "bad");
  open_dataset({.path = faces})->exclude(1, "unknown format");
  const auto set = open_dataset({.path = faces});
  EXPECT_THAT(keys_of(*set), ElementsAre("ann/1.jpg", "bob/1.jpg"));
  EXPECT_EQ(set->summary().images_excluded, 1);
  write_text(faces / "ann/2.jpg", "a better image");
  EXPECT_EQ(open_dataset({.path = faces})->size(), 3);
}

TEST(FolderDataset, LeavesOutWhatDidNotDecodeWhateverItIsCalled) {
  const TemporaryFolder folder;
  const auto faces = folder / "faces";
  const std::vector<std::string> names = {"#a/1.jpg", "a/new\nline.jpg", "a/tab\t.jpg",
                                          "a/w\\x.jpg"};
  for (const std::string& name : names) write_text(faces / name, "bad");
  write_text(faces / "b/1.jpg", "good");
  {
    const auto set = open_dataset({.path = faces});
    for (std::int64_t i = 0; i < 4; ++i) set->exclude(i, "unknown format");
  }
  EXPECT_THAT(keys_of(*open_dataset({.path = faces})), ElementsAre("b/1.jpg"));
}

TEST(FolderDataset, SaysWhichImageIsGone) {
  const TemporaryFolder folder;
  write_text(folder / "ann/1.jpg", "x");
  const auto set = open_dataset({.path = folder.path(), .cache_dir = folder / "cache"});
  fs::remove(folder / "ann/1.jpg");
  EXPECT_THAT([&] { image_of(*set, 0); }, ThrowsMessage<DataError>(HasSubstr("ann/1.jpg: ")));
}

TEST(FolderDataset, AnImageThatCannotBeReadIsNoImageThatDoesNotDecode) {
  const TemporaryFolder folder;
  write_text(folder / "faces/ann/1.jpg", "x");
  fs::create_symlink("/proc/self/mem", folder / "faces/ann/2.jpg");  // reading it is EIO
  const auto set = open_dataset({.path = folder / "faces"});
  ASSERT_EQ(set->size(), 2);
  EXPECT_THAT([&] { image_of(*set, 1); },
              ThrowsMessage<IoError>(HasSubstr("ann/2.jpg: cannot read: Input/output error")));
}

TEST(OpenDataset, SaysWhatIsNotThere) {
  const TemporaryFolder folder;
  EXPECT_THAT(opening({.path = folder / "none"}),
              ThrowsMessage<Error>(HasSubstr("none: not found, want a .rec file or")));
  EXPECT_THAT(
      opening({.path = folder.path()}),
      ThrowsMessage<Error>(HasSubstr("no image found, in it and all folders below; want JPEG")));
}

TEST(OpenDataset, AFolderOfTarIsToldHowToBecomeASet) {
  const TemporaryFolder folder;
  write_text(folder / "shard-0.tar", "");
  write_text(folder / "shard-1.tar", "");
  EXPECT_THAT(opening({.path = folder.path()}),
              ThrowsMessage<Error>(HasSubstr("a folder of .tar (2 files), want a .rec file or a "
                                             "folder of images; `pfc data pack` makes a .rec of "
                                             "it")));
}

TEST(OpenDataset, ATarBesideTheFoldersOfIdentitiesIsNoHindrance) {
  const TemporaryFolder folder;
  write_text(folder / "faces.tar", "");
  std::filesystem::create_directory(folder / "a");
  write_text(folder / "a" / "1.jpg", "x");
  EXPECT_EQ(open_dataset({.path = folder.path(), .min_images = 1})->size(), 1);
}

TEST(OpenDataset, TellsARecOfAnyNameByItsFirstBytes) {
  const TemporaryFolder folder;
  write_text(folder / "faces.txt", "no records");
  EXPECT_THAT(opening({.path = folder / "faces.txt"}),
              ThrowsMessage<Error>(HasSubstr("faces.txt: offset 0: found a text that begins "
                                             "\"no records\", want a .rec file or")));
  FaceRecordWriter writer(folder / "faces");
  writer.add(0, bytes_of("x"));
  writer.commit();
  EXPECT_EQ(open_dataset({.path = folder / "faces"})->size(), 1);
}

class RealFaces : public testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv("PFC_FACES") == nullptr)
      GTEST_SKIP() << "PFC_FACES does not name the folder of real faces";
    faces = std::getenv("PFC_FACES");
  }
  fs::path faces;
  TemporaryFolder folder;
};

TEST_F(RealFaces, HaveTheKnownCounts) {
  const auto all = open_dataset({.path = faces / "train.rec", .cache_dir = folder.path()});
  EXPECT_EQ(all->identities(), 6'133);
  EXPECT_EQ(all->size(), 24'792);
  for (int start = 0; start < 2; ++start) {
    const auto two = open_dataset({.path = faces, .cache_dir = folder.path(), .min_images = 2});
    EXPECT_EQ(two->identities(), 3'642);
    EXPECT_EQ(two->size(), 22'301);
    EXPECT_EQ(two->summary().identities_dropped, 6'133 - 3'642);
    EXPECT_EQ(two->summary().images_dropped, 24'792 - 22'301);
  }
  EXPECT_EQ(image_of(*all, 0).substr(0, 2), "\xff\xd8");
}

TEST_F(RealFaces, AreTheSameWithoutTheirIdx) {
  const auto listed = open_dataset({.path = faces, .cache_dir = folder / "cache"});
  fs::create_symlink(faces / "train.rec", folder / "train.rec");
  const auto scanned = open_dataset({.path = folder.path()});
  EXPECT_EQ(labels_of(*scanned), labels_of(*listed));
  EXPECT_EQ(keys_of(*scanned), keys_of(*listed));
  EXPECT_EQ(image_of(*scanned, 12'345), image_of(*listed, 12'345));
}

TEST_F(RealFaces, AreTheSameWrittenAgain) {
  const auto set = open_dataset({.path = faces, .cache_dir = folder / "cache"});
  std::vector<std::byte> scratch, other;
  {
    FaceRecordWriter writer(folder / "again.rec");
    for (std::int64_t i = 0; i < set->size(); ++i) {
      writer.add(set->labels()[static_cast<std::size_t>(i)], set->image(i, scratch));
    }
    writer.commit();
  }
  const auto again = open_dataset({.path = folder / "again.rec"});
  EXPECT_EQ(labels_of(*again), labels_of(*set));
  for (std::int64_t i = 0; i < set->size(); ++i) {
    const auto a = set->image(i, scratch), b = again->image(i, other);
    ASSERT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << i;
  }
}

}  // namespace
}  // namespace pfc
