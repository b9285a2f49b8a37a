#include "pfc/data/decode_check.h"

#include <utility>
#include <vector>

#include "data/ordered_work.h"
#include "pfc/base/error.h"
#include "pfc/data/image_codec.h"

namespace pfc {
namespace {

constexpr std::size_t kBlock = 1024;  // images read before they are decoded in parallel

struct Read {
  std::int64_t identity = 0;
  std::string name;
  std::vector<std::byte> image;
};

std::vector<Read> read_block(FaceSource& source) {
  std::vector<Read> block;
  for (Face face; block.size() < kBlock && source.next(face);)
    block.push_back({face.identity, face.name, {face.image.begin(), face.image.end()}});
  return block;
}

/// What is wrong; empty if nothing is.
std::string decoding_error(std::span<const std::byte> image) {
  try {
    decode_image(image);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

/// The same for a face. Throws IoError if the image cannot be read.
std::string face_error(const ImageSource& images, std::int64_t i) {
  std::vector<std::byte> scratch;
  std::vector<std::uint8_t> pixels(std::size_t{3} * kFaceSize * kFaceSize);
  try {
    images.face(i, scratch, pixels.data());
    return "";
  } catch (const IoError&) {  // says nothing about the image
    throw;
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

void check_images(FaceSource& source, int threads,
                  const std::function<void(const BrokenImage&)>& on_broken,
                  const std::function<void(StreamProgress, std::int64_t images)>& progress) {
  std::int64_t images = 0;
  StreamProgress before = source.progress();
  for (auto block = read_block(source); !block.empty(); block = read_block(source)) {
    const StreamProgress after = source.progress();
    // Reading counts as done only when the images are decoded.
    const auto done = [&](std::int64_t decoded) {
      return before.done + (after.done - before.done) * decoded / std::ssize(block);
    };
    ordered_work(
        std::ssize(block), threads,
        [&](std::int64_t i) { return decoding_error(block[static_cast<std::size_t>(i)].image); },
        [&](std::int64_t i, std::string reason) {
          const Read& read = block[static_cast<std::size_t>(i)];
          if (!reason.empty()) on_broken({read.identity, read.name, std::move(reason)});
          progress({done(i + 1), after.total}, ++images);
        });
    before = after;
  }
}

std::vector<BrokenFace> check_faces(const ImageSource& images, std::int64_t begin, std::int64_t end,
                                    int threads,
                                    const std::function<void(std::int64_t done)>& progress) {
  std::vector<BrokenFace> broken;
  ordered_work(
      end - begin, threads, [&](std::int64_t i) { return face_error(images, begin + i); },
      [&](std::int64_t i, std::string reason) {
        if (!reason.empty()) broken.push_back({begin + i, std::move(reason)});
        progress(i + 1);
      });
  return broken;
}

}  // namespace pfc
