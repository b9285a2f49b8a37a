#include "pfc/align/face_detector.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <opencv2/dnn.hpp>
#include <opencv2/imgproc.hpp>
#include <string>

#include "align/detector_graph.h"
#include "pfc/base/error.h"
#include "pfc/base/files.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

/// Border around the picture, as a share of its sides.
constexpr std::array kBorders = {0.0, 1.0 / 8, 1.0 / 2};

/// An output as a matrix.
struct Output {
  int rows = 0, columns = 0;
  const float* values = nullptr;

  const float* row(int i) const { return values + std::ptrdiff_t{i} * columns; }
};

/// The network's outputs for one stride.
struct Level {
  int stride = 0, anchors = 0;
  Output scores, boxes, landmarks;
};

Output as_matrix(const cv::Mat& mat) {
  const int columns = mat.size[mat.dims - 1];
  return {static_cast<int>(mat.total()) / std::max(columns, 1), columns, mat.ptr<float>()};
}

/// The first line of OpenCV's message.
std::string reason(const cv::Exception& error) {
  return printable(error.err.substr(0, error.err.find('\n')));
}

/// Sorts the outputs by their kind. Throws Error if they are not those of an SCRFD.
std::vector<Level> levels_of(const std::vector<cv::Mat>& outputs, const DetectorGraph& graph) {
  std::vector<Level> levels(static_cast<std::size_t>(graph.levels));
  std::string found;
  const auto take = [&](int columns, Output Level::*member) {
    std::vector<Output> of_kind;
    for (const cv::Mat& output : outputs) {
      const Output matrix = as_matrix(output);
      if (output.dims >= 2 && output.type() == CV_32F && matrix.columns == columns)
        of_kind.push_back(matrix);
    }
    found += (found.empty() ? "" : ", ") + std::to_string(of_kind.size()) + " of " +
             counted(columns, "column");
    std::ranges::sort(of_kind, std::greater<>(), &Output::rows);
    if (of_kind.size() == levels.size())
      for (std::size_t i = 0; i < levels.size(); ++i) levels[i].*member = of_kind[i];
  };
  take(1, &Level::scores);
  take(4, &Level::boxes);
  take(10, &Level::landmarks);
  int stride = 8;
  for (Level& level : levels) {
    level.stride = stride;
    const int places = (graph.input.width / stride) * (graph.input.height / stride);
    level.anchors = level.scores.rows / places;
    const bool whole = level.anchors > 0 && level.scores.rows == level.anchors * places &&
                       level.boxes.rows == level.scores.rows &&
                       level.landmarks.rows == level.scores.rows;
    if (!whole) {
      throw Error("its outputs are " + found + ", want SCRFD's with key points: " +
                  std::to_string(graph.levels) + " each of 1, 4 and 10 columns, for an input of " +
                  std::to_string(graph.input.width) + " x " + std::to_string(graph.input.height));
    }
    stride *= 2;
  }
  return levels;
}

/// The place of a picture in the network's input.
struct Placement {
  double scale = 1;
  int x = 0, y = 0;  ///< of its first pixel

  Point to_picture(double in_x, double in_y) const {
    return {(in_x - x) / scale, (in_y - y) / scale};
  }
};

void find_at(const Level& level, int width, const Placement& placement,
             std::vector<DetectedFace>& faces) {
  for (int i = 0; i < level.scores.rows; ++i) {
    const double score = *level.scores.row(i);
    if (!(score >= FaceDetector::kLeastScore)) continue;
    const int place = i / level.anchors, x = place % width, y = place / width;
    const auto at = [&](double right, double down) {
      return placement.to_picture(level.stride * (x + right), level.stride * (y + down));
    };
    const float* box = level.boxes.row(i);
    const float* points = level.landmarks.row(i);
    DetectedFace face{score, at(-double{box[0]}, -double{box[1]}), at(box[2], box[3])};
    for (std::size_t k = 0; k < face.landmarks.size(); ++k)
      face.landmarks[k] = at(points[2 * k], points[2 * k + 1]);
    faces.push_back(face);
  }
}

double area(const DetectedFace& face) {
  return std::max(0.0, face.max.x - face.min.x) * std::max(0.0, face.max.y - face.min.y);
}

/// Intersection over union.
double overlap(const DetectedFace& a, const DetectedFace& b) {
  const double width = std::min(a.max.x, b.max.x) - std::max(a.min.x, b.min.x);
  const double height = std::min(a.max.y, b.max.y) - std::max(a.min.y, b.min.y);
  if (width <= 0 || height <= 0) return 0;
  return width * height / (area(a) + area(b) - width * height);
}

/// Of overlapping faces, keeps the surest.
std::vector<DetectedFace> without_doubles(std::vector<DetectedFace> faces) {
  std::ranges::stable_sort(faces, std::greater<>(), &DetectedFace::score);
  std::vector<DetectedFace> kept;
  for (const DetectedFace& face : faces) {
    const bool is_double = std::ranges::any_of(kept, [&](const DetectedFace& other) {
      return overlap(face, other) > FaceDetector::kMostOverlap;
    });
    if (!is_double) kept.push_back(face);
  }
  return kept;
}

}  // namespace

/// A cv::dnn::Net serves one thread at a time, so each thread borrows one.
struct FaceDetector::Network {
  std::string name;
  DetectorGraph graph;
  std::mutex mutex;
  std::vector<cv::dnn::Net> idle;

  cv::dnn::Net borrow() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        cv::dnn::Net net = idle.back();
        idle.pop_back();
        return net;
      }
    }
    return cv::dnn::readNetFromONNX(graph.onnx.data(), graph.onnx.size());
  }
  void give_back(const cv::dnn::Net& net) {
    const std::lock_guard lock(mutex);
    idle.push_back(net);
  }

  std::vector<DetectedFace> detect(cv::dnn::Net& net, const RgbImage& picture, double border) const;
};

/// The picture, with its border, is scaled to the largest size that fits into the input; the rest
/// is black.
std::vector<DetectedFace> FaceDetector::Network::detect(cv::dnn::Net& net, const RgbImage& picture,
                                                        double border) const {
  const auto [input_width, input_height] = graph.input;
  const double most = std::min(static_cast<double>(input_width) / picture.width,
                               static_cast<double>(input_height) / picture.height);
  Placement placement;
  placement.scale = most / (1 + 2 * border);
  const int width = std::clamp(static_cast<int>(picture.width * placement.scale), 1, input_width);
  const int height =
      std::clamp(static_cast<int>(picture.height * placement.scale), 1, input_height);
  placement.x = std::min(static_cast<int>(border * width), input_width - width);
  placement.y = std::min(static_cast<int>(border * height), input_height - height);
  const cv::Mat from(picture.height, picture.width, CV_8UC3,
                     const_cast<std::uint8_t*>(picture.pixels.data()));
  cv::Mat input = cv::Mat::zeros(input_height, input_width, CV_8UC3);
  cv::resize(from, input(cv::Rect(placement.x, placement.y, width, height)), {width, height});
  net.setInput(cv::dnn::blobFromImage(input, 1.0 / 128, input.size(), cv::Scalar::all(127.5)));
  std::vector<cv::Mat> outputs;
  net.forward(outputs, net.getUnconnectedOutLayersNames());
  std::vector<DetectedFace> faces;
  for (const Level& level : levels_of(outputs, graph))
    find_at(level, input_width / level.stride, placement, faces);
  return without_doubles(std::move(faces));
}

FaceDetector::FaceDetector(const std::filesystem::path& onnx, std::optional<ImageSize> size)
    : network_(std::make_unique<Network>()) {
  // Several pictures are processed in parallel; OpenCV's own threads would only take their cores.
  cv::setNumThreads(1);
  network_->name = onnx.string();
  network_->graph = read_detector(MappedFile(onnx).bytes(), onnx.string(), size);
  try {
    network_->give_back(network_->borrow());
  } catch (const cv::Exception& error) {
    throw Error(onnx.string() + ": no network that OpenCV can read: " + reason(error));
  }
  detect({1, 1, std::vector<std::uint8_t>(3)});  // throws with what the network is not
}

FaceDetector::~FaceDetector() = default;

const ImageSize& FaceDetector::input_size() const {
  return network_->graph.input;
}

std::vector<DetectedFace> FaceDetector::detect(const RgbImage& picture) const {
  try {
    cv::dnn::Net net = network_->borrow();
    std::vector<DetectedFace> faces;
    for (const double border : kBorders) {
      faces = network_->detect(net, picture, border);
      if (!faces.empty()) break;
    }
    network_->give_back(net);
    return faces;
  } catch (const cv::Exception& error) {
    throw Error(network_->name + ": cannot be run: " + reason(error));
  } catch (const Error& error) {
    throw Error(network_->name + ": " + error.what());
  }
}

const DetectedFace& main_face(std::span<const DetectedFace> faces, const ImageSize& size) {
  return *std::ranges::max_element(faces, {}, [&](const DetectedFace& face) {
    const double x = (face.min.x + face.max.x) / 2 - size.width / 2.0;
    const double y = (face.min.y + face.max.y) / 2 - size.height / 2.0;
    return area(face) - 2 * (x * x + y * y);
  });
}

}  // namespace pfc
