#include <fstream>
#include <map>

#include "data/md5.h"
#include "data/partial_folder.h"
#include "data/record_file.h"
#include "data/tar_reader.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"
#include "pfc/data/distributed_set.h"

namespace pfc {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_sum(const fs::path& path, const std::string& found,
                           const std::string& wanted) {
  throw DataError(path.string(), "md5 sum", "found " + found + ", want " + wanted);
}

/// The bytes of the parts, one after another. A part's sum is compared at its end.
class JoinedParts {
 public:
  JoinedParts(const DistributedSet& set, const fs::path& folder,
              const std::function<void(std::int64_t done, std::int64_t total)>& progress)
      : set_(set), folder_(folder), progress_(progress), block_(std::size_t{1} << 20) {
    for (const DistributedFile& part : set.parts) {
      const fs::path path = folder / part.name;
      if (!fs::is_regular_file(path))
        throw Error(path.string() + ": not found, a part of " + set.title);
      total_ += static_cast<std::int64_t>(fs::file_size(path));
    }
  }

  std::int64_t total() const { return total_; }

  std::span<const std::byte> read() {
    for (;;) {
      if (!file_.is_open()) {
        if (part_ == set_.parts.size()) return {};
        file_.open(path(), std::ios::binary);
        if (!file_) throw Error(path().string() + ": cannot be opened");
      }
      file_.read(reinterpret_cast<char*>(block_.data()), std::ssize(block_));
      const auto read = std::span(block_).first(static_cast<std::size_t>(file_.gcount()));
      if (!read.empty()) {
        md5_.add(read);
        done_ += std::ssize(read);
        progress_(done_, total_);
        return read;
      }
      if (!file_.eof()) throw Error(path().string() + ": cannot be read");
      finish_part();
    }
  }

 private:
  fs::path path() const { return folder_ / set_.parts[part_].name; }

  void finish_part() {
    file_.close();
    file_.clear();
    const std::string found = md5_.finish(), &wanted = set_.parts[part_].md5;
    if (!wanted.empty() && found != wanted) fail_sum(path(), found, wanted);
    ++part_;
  }

  const DistributedSet& set_;
  fs::path folder_;
  const std::function<void(std::int64_t done, std::int64_t total)>& progress_;
  std::size_t part_ = 0;
  std::ifstream file_;
  Md5 md5_;
  std::vector<std::byte> block_;
  std::int64_t done_ = 0, total_ = 0;
};

/// The place of a tar entry. Throws DataError if it is outside `folder`.
fs::path place_of_entry(const fs::path& folder, const std::string& entry,
                        const std::string& title) {
  const fs::path path = fs::path(entry).lexically_normal();
  const bool outside = path.is_absolute() || path.empty() || *path.begin() == "..";
  if (outside || !path.has_filename())
    throw DataError(title, printable(entry), "a path that leads out of the folder");
  return folder / path;
}

/// Writes an entry; returns its sum.
std::string write_entry(TarReader& tar, const fs::path& path) {
  fs::create_directories(path.parent_path());
  AtomicFile file(path);
  Md5 md5;
  for (auto part = tar.read_some(); !part.empty(); part = tar.read_some()) {
    file.write(part);
    md5.add(part);
  }
  file.commit();
  return md5.finish();
}

void require_contents(const DistributedSet& set, const std::map<std::string, fs::path>& found) {
  for (const DistributedFile& content : set.contents) {
    if (!found.contains(content.name))
      throw Error(set.title + ": the tar holds no " + content.name);
  }
}

}  // namespace

void assemble(const DistributedSet& set, const fs::path& folder, const fs::path& out,
              const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  JoinedParts parts(set, folder, progress);
  PartialFolder partial(out);
  const auto free = static_cast<double>(fs::space(partial.path()).available);
  if (free < static_cast<double>(parts.total())) {
    throw Error(format("%s: %.1f GB are free, and unpacking takes %.1f GB at the least",
                       partial.path().c_str(), free / 1e9,
                       static_cast<double>(parts.total()) / 1e9));
  }
  TarReader tar = TarReader::stream([&] { return parts.read(); }, set.title);
  std::map<std::string, fs::path> found;
  while (const auto entry = tar.next()) {
    const fs::path path = place_of_entry(partial.path(), *entry, set.title);
    const std::string sum = write_entry(tar, path);
    const std::string name = path.filename().string();
    for (const DistributedFile& content : set.contents) {
      if (content.name != name) continue;
      if (!content.md5.empty() && sum != content.md5) fail_sum(path, sum, content.md5);
      found[name] = path;
    }
  }
  while (!parts.read().empty()) {  // bytes after the end of the tar belong to the last part's sum
  }
  require_contents(set, found);
  // If no sum confirms a .rec, its .idx must.
  for (const auto& [name, path] : found)
    if (path.extension() == ".rec") RecordFile(path).index();
  partial.commit();
}

}  // namespace pfc
