#include "data/exclusion_list.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/retry_io.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"

namespace pfc {
namespace {

/// A key or a reason in the form for one line: control characters, including tabs and newlines,
/// become question marks.
std::string one_line(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ') c = '?';
  }
  return line;
}

std::string content_of(const std::filesystem::path& file) {
  try {
    return read_file(file);
  } catch (const IoError& error) {
    // A list that exists and cannot be read is not an empty one: the run would see another set.
    if (may_pass(error)) throw;
    return {};
  }
}

}  // namespace

ExclusionList::ExclusionList(std::filesystem::path file, std::string_view source)
    : file_(std::move(file)), header_("pfcbad 1 " + one_line(source) + "\n") {
  const std::string content = content_of(file_);
  std::string_view text = content;
  if (!text.starts_with(header_)) return;
  text.remove_prefix(header_.size());
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (const std::size_t tab = line.find('\t'); tab != line.npos)
      keys_.emplace(line.substr(0, tab));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
}

void ExclusionList::replace(const std::vector<std::string>& keys) {
  const std::lock_guard lock(mutex_);
  keys_ = {keys.begin(), keys.end()};
}

std::vector<std::string> ExclusionList::keys() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> keys(keys_.begin(), keys_.end());
  std::ranges::sort(keys);
  return keys;
}

void ExclusionList::add(std::string_view key, std::string_view reason) {
  const std::lock_guard lock(mutex_);
  const auto [added, is_new] = keys_.insert(one_line(key));
  if (is_new) append(*added + "\t" + one_line(reason) + "\n");
}

void ExclusionList::append(const std::string& line) const {
  const int descriptor = ::open(file_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return;
  // The lock keeps two processes from both beginning the file; closing releases it.
  ::flock(descriptor, LOCK_EX);
  std::string found(header_.size(), '\0');
  const ssize_t size = ::pread(descriptor, found.data(), found.size(), 0);
  if (size < 0) {  // a file that cannot be read must not be overwritten
    ::close(descriptor);
    return;
  }
  std::string text = line;
  bool usable = true;
  if (size != static_cast<ssize_t>(found.size()) || found != header_) {
    usable = ::ftruncate(descriptor, 0) == 0;
    text = header_ + line;
  } else {
    char last = '\n';
    const off_t end = ::lseek(descriptor, 0, SEEK_END);
    if (::pread(descriptor, &last, 1, end - 1) == 1 && last != '\n')
      text = "\n" + line;  // after an incomplete line
  }
  if (usable && ::write(descriptor, text.data(), text.size()) < 0) usable = false;
  ::close(descriptor);
}

}  // namespace pfc
