#pragma once

#include <cstddef>  // for std::byte
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/image_folder.h"
#include "data/tar_reader.h"
#include "pfc/data/face_stream.h"

namespace pfc {

/// WebDataset samples of one tar after another.
class TarSource final : public FaceSource {
 public:
  /// `open` opens the i-th shard and returns no value after the last. `total_bytes` is the size of
  /// all shards; `name` stands for them in errors.
  using Open = std::function<std::optional<TarReader>(std::size_t)>;
  TarSource(std::string name, Open open, std::int64_t total_bytes);

  bool next(Face& face) override;
  StreamProgress progress() const override;
  std::string passed_over() const override;

 private:
  struct Sample {
    std::string name;  ///< path up to the first dot of its file
    std::vector<std::byte> image;
    std::optional<std::int64_t> identity;
    bool has_image = false;
  };

  bool open_next();
  void take(const std::string& path);
  bool finish();
  bool give(Face& face);
  /// Called after the last sample. Throws Error if there was none.
  bool end() const;

  std::string name_;
  Open open_;
  std::int64_t total_bytes_, bytes_before_ = 0;
  std::size_t shards_ = 0;
  std::optional<TarReader> tar_;
  Sample sample_;
  std::optional<std::string> pending_;  ///< a file of the next sample, not yet read
  Sample given_;
  PassedOver others_;
  bool found_ = false;  ///< whether a sample was found
};

}  // namespace pfc
