#include "pfc/align/face_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pfc/base/error.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// An SCRFD by its outputs: a score of nearly 1 where the 8 x 8 pixels of a place are white, 0.9
/// where they are as red; the box 1, 2, 3 and 4 strides from there to the left, up, right and down;
/// landmark k at (k, -k) strides. Its other anchor and strides see nothing.
constexpr const char* kMakeModel = R"(
import sys, numpy as np, onnx
from onnx import helper as h, numpy_helper as nh, TensorProto as T
nodes, weights, outputs = [], [], []
def head(name, stride, values, weight, bias):
    side = 640 // stride
    w = np.zeros((2 * values, 3, stride, stride), np.float32)
    w[:values] = weight / (3 * stride * stride)
    weights.append(nh.from_array(w, name + 'w'))
    weights.append(nh.from_array(np.array(list(bias) * 2, np.float32), name + 'b'))
    weights.append(nh.from_array(np.array([2 * side * side, values], np.int64), name + 's'))
    nodes.append(h.make_node('Conv', ['x', name + 'w', name + 'b'], [name + 'c'],
                             kernel_shape=[stride, stride], strides=[stride, stride]))
    nodes.append(h.make_node('Transpose', [name + 'c'], [name + 't'], perm=[0, 2, 3, 1]))
    last = name + 'r' if values == 1 else name
    nodes.append(h.make_node('Reshape', [name + 't', name + 's'], [last]))
    if values == 1: nodes.append(h.make_node('Sigmoid', [last], [name]))
    outputs.append(h.make_tensor_value_info(name, T.FLOAT, [2 * side * side, values]))
kinds = sys.argv[2].split(',')
for stride in (8, 16, 32):
    if 'scores' in kinds:
        head(f's{stride}', stride, 1, 24 if stride == 8 else 0, [-10 if stride == 8 else -20])
        if stride == 8: weights[-2] = nh.from_array(np.array([-10, -30], np.float32), 's8b')
for stride in (8, 16, 32):
    if 'boxes' in kinds: head(f'b{stride}', stride, 4, 0, [1, 2, 3, 4])
for stride in (8, 16, 32):
    if 'points' in kinds: head(f'k{stride}', stride, 10, 0, [0, 0, 1, -1, 2, -2, 3, -3, 4, -4])
graph = h.make_graph(nodes, 'made', [h.make_tensor_value_info('x', T.FLOAT, [1, 3, 640, 640])],
                     outputs, weights)
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid('', 11)]), sys.argv[1])
)";

class FaceDetectorTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!python_) GTEST_SKIP() << python_.why_not();
  }
  std::filesystem::path model(const std::string& kinds = "scores,boxes,points") const {
    const auto path = folder_ / "model.onnx";
    python_.run(kMakeModel, path.string() + " " + kinds);
    return path;
  }

  Python python_{"onnx"};
  TemporaryFolder folder_;
};

RgbImage black(int width, int height) {
  return {width, height,
          std::vector<std::uint8_t>(3 * static_cast<std::size_t>(width) *
                                    static_cast<std::size_t>(height))};
}

void paint(RgbImage& picture, int x, int y, int side, std::uint8_t value) {
  for (int row = y; row < y + side; ++row) {
    for (int i = 3 * x; i < 3 * (x + side); ++i)
      picture.pixels[static_cast<std::size_t>(3 * row * picture.width + i)] = value;
  }
}

TEST_F(FaceDetectorTest, DecodesBoxesAndLandmarksInThePicturesPixels) {
  const FaceDetector detector(model());
  RgbImage picture = black(640, 480);
  EXPECT_TRUE(detector.detect(picture).empty());
  paint(picture, 80, 160, 8, 255);
  const auto faces = detector.detect(picture);
  ASSERT_EQ(faces.size(), 1u);
  EXPECT_GT(faces[0].score, 0.99);
  EXPECT_NEAR(faces[0].min.x, 80 - 8, 1e-3);
  EXPECT_NEAR(faces[0].min.y, 160 - 16, 1e-3);
  EXPECT_NEAR(faces[0].max.x, 80 + 24, 1e-3);
  EXPECT_NEAR(faces[0].max.y, 160 + 32, 1e-3);
  for (int k = 0; k < 5; ++k) {
    EXPECT_NEAR(faces[0].landmarks[static_cast<std::size_t>(k)].x, 80 + 8 * k, 1e-3);
    EXPECT_NEAR(faces[0].landmarks[static_cast<std::size_t>(k)].y, 160 - 8 * k, 1e-3);
  }
}

TEST_F(FaceDetectorTest, ScalesThePictureToItsInputAndBack) {
  const FaceDetector detector(model());
  RgbImage picture = black(300, 1280);  // halved, and black to the right
  paint(picture, 160, 640, 16, 255);
  const auto faces = detector.detect(picture);
  ASSERT_EQ(faces.size(), 1u);
  EXPECT_NEAR(faces[0].landmarks[0].x, 160, 1e-3);
  EXPECT_NEAR(faces[0].landmarks[0].y, 640, 1e-3);
  EXPECT_NEAR(faces[0].max.x - faces[0].min.x, 64, 1e-3);
}

TEST_F(FaceDetectorTest, KeepsTheSurestOfThoseThatOverlap) {
  const FaceDetector detector(model());
  RgbImage picture = black(640, 640);
  paint(picture, 80, 80, 8, 210);  // sees them 8 pixels apart: boxes overlap by 60 %
  paint(picture, 88, 80, 8, 255);
  paint(picture, 400, 80, 8, 230);  // far from both
  const auto faces = detector.detect(picture);
  ASSERT_EQ(faces.size(), 2u);
  EXPECT_NEAR(faces[0].landmarks[0].x, 88, 1e-3);
  EXPECT_NEAR(faces[1].landmarks[0].x, 400, 1e-3);
  EXPECT_GT(faces[0].score, faces[1].score);
}

TEST_F(FaceDetectorTest, RefusesWhatIsNoScrfd) {
  EXPECT_THAT([&] { FaceDetector(folder_ / "none.onnx"); },
              ThrowsMessage<Error>(HasSubstr("none.onnx: not found")));
  write_text(folder_ / "text.onnx", "this is no network");
  EXPECT_THAT([&] { FaceDetector(folder_ / "text.onnx"); },
              ThrowsMessage<Error>(HasSubstr("text.onnx: no network that OpenCV can read")));
  EXPECT_THAT([&] { FaceDetector(model("scores,boxes")); },
              ThrowsMessage<Error>(HasSubstr("3 of 1 column, 3 of 4 columns, 0 of 10 columns")));
}

TEST(MainFace, IsALargeOneNearTheMiddle) {
  const auto face = [](double x, double y, double side) {
    return DetectedFace{0.9, {x - side / 2, y - side / 2}, {x + side / 2, y + side / 2}};
  };
  const std::vector<DetectedFace> faces = {face(20, 20, 80), face(100, 100, 60), face(110, 90, 10)};
  EXPECT_EQ(main_face(faces, {200, 200}).max.x, 130);
  EXPECT_EQ(main_face(std::span(faces).first(1), {200, 200}).max.x, 60);
}

}  // namespace
}  // namespace pfc
