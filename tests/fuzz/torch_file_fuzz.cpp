// Reads bytes as a file of torch.save, and as the pickle inside a valid file of each format,
// because a fuzzer does not find an archive's checksums.
#include <cstdint>
#include <cstring>

#include "../formats/torch_archives.h"
#include "pfc/base/error.h"
#include "pfc/formats/torch_file.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t limit);

namespace {

void read(std::span<const std::byte> bytes) {
  try {
    const auto file = pfc::TorchFile::parse("fuzz.pth", bytes);
    const auto read_tensors = [&](const std::vector<pfc::TensorStream>& tensors) {
      for (const pfc::TensorStream& tensor : tensors) {
        std::uint64_t size = 0;
        tensor.read([&](std::span<const std::byte> piece) { size += piece.size(); });
        if (size != pfc::byte_size(tensor.dtype, tensor.shape)) __builtin_trap();
      }
    };
    read_tensors(file.tensors());
    if (const auto tensor = file.tensor()) read_tensors({*tensor});
    for (const std::string& key : file.keys()) read_tensors(file.tensors(key));
    for (const pfc::TorchDict& dict : file.dicts()) read_tensors(dict.tensors);
  } catch (const pfc::DataError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  read(bytes);
  const auto* text = reinterpret_cast<const char*>(data);
  read(pfc::zip_archive(pfc::torch_entries({text, size})));
  const std::string old = pfc::torch_file_before_1_6({text, size});
  read(std::as_bytes(std::span(old)));
  return 0;
}

/// Starts from a valid file, or from its pickle.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t limit, unsigned random) {
  if (size < 8) {
    const std::string pickle = "}(Va\n" + pfc::PickledTensor{}.text() + "Vb\n}Vc\n" +
                               pfc::PickledTensor{}.text() +
                               "sVd\ncnn\nModule\n)\x81}V_modules\n}sbu.";
    const auto text = std::as_bytes(std::span(pickle));
    const auto seed = random % 2 == 0 ? pfc::zip_archive(pfc::torch_entries(pickle))
                                      : std::vector<std::byte>(text.begin(), text.end());
    if (seed.size() <= limit) {
      std::memcpy(data, seed.data(), seed.size());
      size = seed.size();
    }
  }
  return LLVMFuzzerMutate(data, size, limit);
}
