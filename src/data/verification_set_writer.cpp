#include <cstdint>
#include <limits>
#include <string>

#include "base/little_endian.h"
#include "data/buffered_file.h"
#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/data/verification_set.h"

namespace pfc {
namespace {

// The operations of a pickle that a set needs (Python's Lib/pickletools.py describes each).
constexpr char kProtocol = '\x80', kEmptyList = ']', kMark = '(', kAppends = 'e', kBytes = 'B',
               kTrue = '\x88', kFalse = '\x89', kPair = '\x86', kStop = '.';
constexpr char kVersion = 3;  // the first with `bytes`

}  // namespace

struct VerificationSetWriter::State {
  explicit State(const std::filesystem::path& path) : name(path.string()), file(path) {
    write({kProtocol, kVersion, kEmptyList, kMark});
  }

  void write(std::initializer_list<char> operations) {
    for (const char operation : operations) append(file.buffer(), operation);
  }

  void write_image(std::span<const std::byte> image) {
    if (image.size() > std::numeric_limits<std::uint32_t>::max()) {
      throw Error(name + ": an image of " + counted(image.size(), "byte") +
                  ", want fewer than 2^32");
    }
    write({kBytes});
    append(file.buffer(), static_cast<std::uint32_t>(image.size()));
    file.buffer().insert(file.buffer().end(), image.begin(), image.end());
    file.settle();
  }

  std::string name;
  BufferedFile file;
  std::vector<bool> same;
};

VerificationSetWriter::VerificationSetWriter(const std::filesystem::path& path)
    : state_(std::make_unique<State>(path)) {}
VerificationSetWriter::~VerificationSetWriter() = default;

void VerificationSetWriter::add(std::span<const std::byte> first, std::span<const std::byte> second,
                                bool same) {
  state_->write_image(first);
  state_->write_image(second);
  state_->same.push_back(same);
}

void VerificationSetWriter::commit() {
  State& s = *state_;
  if (s.same.empty()) throw Error(s.name + ": no pairs were added");
  s.write({kAppends, kEmptyList, kMark});
  for (const bool same : s.same) s.write({same ? kTrue : kFalse});
  s.write({kAppends, kPair, kStop});
  s.file.commit();
}

}  // namespace pfc
