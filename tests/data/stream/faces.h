#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/record_bytes.h"
#include "pfc/data/face_stream.h"

namespace pfc {

/// A face that owns its bytes.
struct OwnedFace {
  std::int64_t identity = 0;
  std::string image;

  bool operator==(const OwnedFace&) const = default;
};

inline std::vector<OwnedFace> all_of(FaceSource& source) {
  std::vector<OwnedFace> faces;
  for (Face face; source.next(face);) faces.push_back({face.identity, text_of(face.image)});
  return faces;
}

inline std::vector<OwnedFace> all_in(const std::filesystem::path& path,
                                     const std::filesystem::path& root = {}) {
  return all_of(*open_faces(path, root));
}

inline void put(FaceSink& sink, const std::vector<OwnedFace>& faces) {
  int name = 0;
  for (const OwnedFace& face : faces) {
    const auto bytes = bytes_of(face.image);
    sink.add({face.identity, std::to_string(name++), bytes});
  }
}

inline void copy(FaceSource& source, FaceSink& sink) {
  for (Face face; source.next(face);) sink.add(face);
  sink.commit();
}

}  // namespace pfc
