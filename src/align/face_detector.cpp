#include "pfc/align/face_detector.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <opencv2/dnn.hpp>
#include <opencv2/imgproc.hpp>
#include <string>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {
namespace {

constexpr int kSide = 640;  // of the network's input
constexpr std::array kStrides = {8, 16, 32};

/// An output as a matrix.
struct Output {
  int rows = 0, columns = 0;
  const float* values = nullptr;

  const float* row(int i) const { return values + std::ptrdiff_t{i} * columns; }
};

/// What the network says at the places of one stride.
struct Level {
  int stride = 0, anchors = 0;
  Output scores, boxes, landmarks;
};

Output as_matrix(const cv::Mat& mat) {
  const int columns = mat.size[mat.dims - 1];
  return {static_cast<int>(mat.total()) / std::max(columns, 1), columns, mat.ptr<float>()};
}

/// The first line of what OpenCV says.
std::string reason(const cv::Exception& error) {
  return printable(error.err.substr(0, error.err.find('\n')));
}

/// Sorts the outputs by what they are. Throws Error where they are not SCRFD's.
std::array<Level, 3> levels_of(const std::vector<cv::Mat>& outputs) {
  std::array<Level, 3> levels;
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
  for (std::size_t i = 0; i < levels.size(); ++i) {
    Level& level = levels[i];
    level.stride = kStrides[i];
    const int places = (kSide / level.stride) * (kSide / level.stride);
    level.anchors = level.scores.rows / places;
    const bool whole = level.anchors > 0 && level.scores.rows == level.anchors * places &&
                       level.boxes.rows == level.scores.rows &&
                       level.landmarks.rows == level.scores.rows;
    if (!whole) {
      throw Error(
          "its outputs are " + found +
          ", want SCRFD's with key points: 3 each of 1, 4 and 10 columns, for an input of " +
          std::to_string(kSide) + " x " + std::to_string(kSide));
    }
  }
  return levels;
}

void find_at(const Level& level, double scale, std::vector<DetectedFace>& faces) {
  const int side = kSide / level.stride;
  for (int i = 0; i < level.scores.rows; ++i) {
    const double score = *level.scores.row(i);
    if (!(score >= FaceDetector::kLeastScore)) continue;
    const int place = i / level.anchors;
    const auto to_picture = [&](int at, double distance) {
      return level.stride * (at + distance) / scale;
    };
    const int x = place % side, y = place / side;
    const float* box = level.boxes.row(i);
    const float* points = level.landmarks.row(i);
    DetectedFace face{score,
                      {to_picture(x, -double{box[0]}), to_picture(y, -double{box[1]})},
                      {to_picture(x, box[2]), to_picture(y, box[3])}};
    for (std::size_t k = 0; k < face.landmarks.size(); ++k)
      face.landmarks[k] = {to_picture(x, points[2 * k]), to_picture(y, points[2 * k + 1])};
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

/// Of faces that overlap, the surest.
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

struct FaceDetector::Network {
  std::string name;
  std::mutex mutex;
  cv::dnn::Net net;
  std::vector<std::string> outputs;
};

FaceDetector::FaceDetector(const std::filesystem::path& onnx)
    : network_(std::make_unique<Network>()) {
  network_->name = onnx.string();
  if (!std::filesystem::is_regular_file(onnx)) throw Error(onnx.string() + ": not found");
  try {
    network_->net = cv::dnn::readNetFromONNX(onnx.string());
    network_->outputs = network_->net.getUnconnectedOutLayersNames();
  } catch (const cv::Exception& error) {
    throw Error(onnx.string() + ": no network that OpenCV can read: " + reason(error));
  }
  detect({kSide, kSide, std::vector<std::uint8_t>(3 * kSide * kSide)});  // says what it is not
}

FaceDetector::~FaceDetector() = default;

std::vector<DetectedFace> FaceDetector::detect(const RgbImage& picture) const {
  // The picture's longer side becomes the input's; what is left of it is black.
  const double scale = static_cast<double>(kSide) / std::max(picture.width, picture.height);
  const cv::Mat from(picture.height, picture.width, CV_8UC3,
                     const_cast<std::uint8_t*>(picture.pixels.data()));
  const int width = std::clamp(static_cast<int>(picture.width * scale), 1, kSide);
  const int height = std::clamp(static_cast<int>(picture.height * scale), 1, kSide);
  cv::Mat input = cv::Mat::zeros(kSide, kSide, CV_8UC3);
  cv::resize(from, input(cv::Rect(0, 0, width, height)), {width, height});
  std::vector<DetectedFace> faces;
  try {
    const std::lock_guard lock(network_->mutex);
    network_->net.setInput(
        cv::dnn::blobFromImage(input, 1.0 / 128, {kSide, kSide}, cv::Scalar::all(127.5)));
    std::vector<cv::Mat> outputs;
    network_->net.forward(outputs, network_->outputs);
    for (const Level& level : levels_of(outputs)) find_at(level, scale, faces);
  } catch (const cv::Exception& error) {
    throw Error(network_->name + ": cannot be run: " + reason(error));
  } catch (const Error& error) {
    throw Error(network_->name + ": " + error.what());
  }
  return without_doubles(std::move(faces));
}

const DetectedFace& main_face(std::span<const DetectedFace> faces, const ImageSize& size) {
  return *std::ranges::max_element(faces, {}, [&](const DetectedFace& face) {
    const double x = (face.min.x + face.max.x) / 2 - size.width / 2.0;
    const double y = (face.min.y + face.max.y) / 2 - size.height / 2.0;
    return area(face) - 2 * (x * x + y * y);
  });
}

}  // namespace pfc
