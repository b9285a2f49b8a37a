#pragma once

#include <zip.h>

#include <cstddef>  // for std::byte
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace pfc {

using ArchiveEntries = std::vector<std::pair<std::string, std::string>>;

/// A zip archive of entries in this order, stored or compressed.
inline std::vector<std::byte> zip_archive(const ArchiveEntries& entries, bool compressed = false) {
  zip_source_t* out = zip_source_buffer_create(nullptr, 0, 0, nullptr);
  zip_source_keep(out);
  zip_t* archive = zip_open_from_source(out, ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  for (const auto& [name, content] : entries) {
    zip_source_t* entry = zip_source_buffer(archive, content.data(), content.size(), 0);
    const auto index = zip_file_add(archive, name.c_str(), entry, 0);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index),
                             compressed ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  }
  if (zip_close(archive) != 0 || zip_source_open(out) != 0) throw std::runtime_error("zip");
  zip_stat_t stat;
  zip_source_stat(out, &stat);
  std::vector<std::byte> bytes(stat.size);
  zip_source_read(out, bytes.data(), bytes.size());
  zip_source_close(out);
  zip_source_free(out);
  return bytes;
}

/// The parts of a pickled tensor, in protocol 0 with small numbers: {"F", "0", 6, 0, "K\2K\3",
/// "K\3K\1"} is [2, 3] float32 in storage 0.
struct PickledTensor {
  std::string type = "Float";
  std::string storage = "0";
  std::string size = "K\6";
  std::string offset = std::string("K\0", 2);
  std::string shape = "K\2K\3";
  std::string strides = "K\3K\1";

  std::string text() const {
    return "ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\n" + type + "Storage\nV" +
           storage + "\nVcpu\n" + size + "tQ" + offset + "(" + shape + "t(" + strides +
           "t\x89"
           "Nt"
           "R";
  }
};

/// The file of torch.save with this pickle and a storage "0" of six float32.
inline ArchiveEntries torch_entries(const std::string& pickle) {
  return {{"file/data.pkl", pickle},
          {"file/byteorder", "little"},
          {"file/data/0", std::string("\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5\0\0\0", 24)},
          {"file/version", "3\n"}};
}

/// A torch.save file from before PyTorch 1.6, with this pickle and the storage "0" of six float32.
inline std::string torch_file_before_1_6(const std::string& pickle) {
  using namespace std::string_literals;
  return "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."s + "\x80\2M\xe9\3." +
         "\x80\2}X\x0d\0\0\0little_endian\x88s."s + pickle + "\x80\2]X\1\0\0\0"s + "0a." +
         "\6\0\0\0\0\0\0\0"s + torch_entries("")[2].second;
}

}  // namespace pfc
