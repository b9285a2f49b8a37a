#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "pfc/data/face_stream.h"

namespace pfc {

// What open_faces opens. Each throws if the path is not such a set.
std::unique_ptr<FaceSource> open_rec_faces(const std::filesystem::path& rec);
std::unique_ptr<FaceSource> open_folder_faces(const std::filesystem::path& folder);
std::unique_ptr<FaceSource> open_lst_faces(const std::filesystem::path& lst,
                                           const std::filesystem::path& root);
std::unique_ptr<FaceSource> open_tar_faces(std::vector<std::filesystem::path> shards);

}  // namespace pfc
