#include "align/detector_graph.h"

#include <onnx/onnx_pb.h>

#include <algorithm>

#include "pfc/base/error.h"
#include "pfc/base/format.h"
#include "pfc/formats/onnx_file.h"

namespace pfc {
namespace {

constexpr ImageSize kDefaultInput{640, 640};
constexpr int kLargestInput = 1 << 14;
constexpr const char* kWantedDetector =
    "want an SCRFD detector with key points, such as InsightFace's det_10g.onnx, det_500m.onnx or "
    "scrfd_10g_bnkps.onnx: one input, 1 x 3 x height x width, and 9 outputs";

/// "1 x 3 x 112 x 112".
std::string extents(const OnnxPort& port) {
  std::string text;
  for (const std::string& extent : port.shape)
    text += (text.empty() ? "" : " x ") + printable(extent.empty() ? "?" : extent);
  return text.empty() ? "a single value" : text;
}

/// The file must have three kinds of output for each of its strides: scores, boxes, key points.
/// Otherwise the error says what the file is.
int levels_in(const OnnxSummary& summary, const std::string& name) {
  const std::size_t outputs = summary.outputs.size();
  const bool takes_pictures = summary.inputs.size() == 1 && summary.inputs[0].shape.size() == 4;
  if (takes_pictures && (outputs == 9 || outputs == 15)) return static_cast<int>(outputs / 3);
  if (takes_pictures && (outputs == 6 || outputs == 10)) {
    throw DataError(name, "its " + std::to_string(outputs) + " outputs",
                    "a detector without key points, which are needed to align faces; " +
                        std::string(kWantedDetector));
  }
  std::string is = "a network of " + counted(std::ssize(summary.inputs), "input");
  if (!summary.inputs.empty()) is += " (" + extents(summary.inputs[0]) + ")";
  is += " and " + counted(std::ssize(summary.outputs), "output");
  if (outputs > 0) is += " (" + extents(summary.outputs[0]) + ")";
  throw DataError(name, "its graph", is + "; " + kWantedDetector);
}

std::string text_of(const ImageSize& size) {
  return std::to_string(size.width) + " x " + std::to_string(size.height);
}

}  // namespace

DetectorGraph read_detector(std::span<const std::byte> file, const std::string& name,
                            std::optional<ImageSize> size) {
  const OnnxSummary summary = parse_onnx(file, name);
  DetectorGraph result;
  result.levels = levels_in(summary, name);
  onnx::ModelProto model;
  if (!model.ParseFromArray(file.data(), static_cast<int>(file.size())))
    throw DataError(name, "the whole file", "not a protobuf message");
  auto& inputs = *model.mutable_graph()->mutable_input();
  const auto input = std::ranges::find(inputs, summary.inputs[0].name,
                                       [](const onnx::ValueInfoProto& i) { return i.name(); });
  auto& shape = *input->mutable_type()->mutable_tensor_type()->mutable_shape();
  // OpenCV 4.6 computes shapes while it reads a file, and stops at an open extent. Open extents are
  // numbers below 1 and names such as "?" and "height".
  const auto extent = [&](int axis, std::int64_t wanted) {
    auto& dim = *shape.mutable_dim(axis);
    if (!dim.has_dim_value() || dim.dim_value() < 1) dim.set_dim_value(wanted);
    return dim.dim_value();
  };
  const ImageSize wanted = size.value_or(kDefaultInput);
  const bool batch = extent(0, 1) == 1, colours = extent(1, 3) == 3;
  const std::int64_t height = extent(2, wanted.height), width = extent(3, wanted.width);
  const std::string place = "its input, " + extents(summary.inputs[0]);
  if (!batch || !colours) throw DataError(name, place, kWantedDetector);
  if (size && (height != wanted.height || width != wanted.width)) {
    throw DataError(name, place,
                    "it takes no other size, so not " + text_of(wanted) +
                        "; ask for no size, or use a file whose size is open");
  }
  const int stride = result.largest_stride();
  if (width < 1 || height < 1 || width > kLargestInput || height > kLargestInput ||
      width % stride != 0 || height % stride != 0) {
    throw DataError(name, place,
                    std::to_string(width) + " wide and " + std::to_string(height) +
                        " high, want multiples of " + std::to_string(stride) + " up to " +
                        std::to_string(kLargestInput));
  }
  result.input = {static_cast<int>(width), static_cast<int>(height)};
  result.onnx = model.SerializeAsString();
  return result;
}

}  // namespace pfc
