#include "data/partial_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/paths.h"

namespace pfc {

PartialFolder::PartialFolder(const std::filesystem::path& folder)
    : folder_(folder.has_filename() ? folder : folder.parent_path()), partial_(folder_) {
  partial_ += ".partial";
  if (is_there(folder_)) {
    throw Error(folder_.string() + " is there already; name another folder, or remove it first");
  }
  std::error_code error;
  std::filesystem::create_directories(partial_, error);
  if (error) throw Error(partial_.string() + ": cannot make the folder: " + error.message());
}

PartialFolder::~PartialFolder() {
  std::error_code error;
  std::filesystem::remove(partial_, error);  // fails for a folder that holds files
}

void PartialFolder::commit() {
  const int descriptor = ::open(partial_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = descriptor >= 0 && ::syncfs(descriptor) == 0;
  if (descriptor >= 0) ::close(descriptor);
  if (!synced) throw Error(partial_.string() + ": cannot be written to the disk");
  rename_durably(partial_, folder_);
}

}  // namespace pfc
