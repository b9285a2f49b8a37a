#include "pfc/align/face_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "pfc/base/error.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// An SCRFD network described by its outputs. The score of a place is nearly 1 if its 8 x 8 pixels
/// are white, and 0.9 if they are equally red. Its box extends 1, 2, 3 and 4 strides to the left,
/// up, right and down; landmark k lies at (k, -k) strides. The other anchor and strides see
/// nothing.
///
/// Options (words): `open` leaves the input's height and width open and takes scores from a feature
/// map that Resize brings to the size that Shape, Gather and Concat compute, as PyTorch exports
/// SCRFD's neck. `batched` outputs have a leading 1. `numbered` outputs have numbers as names and
/// another order. scores, boxes and points are the outputs that it has.
constexpr const char* kMakeModel = R"(
import sys, numpy as np, onnx
from onnx import helper as h, numpy_helper as nh, TensorProto as T
words = sys.argv[2].split(',')
is_open, batched, numbered = (word in words for word in ('open', 'batched', 'numbered'))
nodes, weights, outputs = [], [], []
def node(op, inputs, output, **attributes): nodes.append(h.make_node(op, inputs, [output], **attributes))
def constant(name, values, kind=np.int64): weights.append(nh.from_array(np.array(values, kind), name))
def like(wanted, small, stride):  # `small` as large as `wanted`, times 0, plus `wanted`
    n = f'u{stride}'
    for side, axis in (('h', 2), ('w', 3)):
        node('Shape', [wanted], n + side + 's')
        constant(n + side + 'i', axis)
        node('Gather', [n + side + 's', n + side + 'i'], n + side + 'g', axis=0)
        node('Unsqueeze', [n + side + 'g'], n + side, axes=[0])
    node('Shape', [small], n + 's')
    for name, value in (('0', [0]), ('2', [2])): constant(n + name, value)
    node('Slice', [n + 's', n + '0', n + '2', n + '0'], n + 'nc')
    node('Concat', [n + 'nc', n + 'h', n + 'w'], n + 'to', axis=0)
    constant(n + 'none', [], np.float32)
    node('Resize', [small, n + 'none', n + 'none', n + 'to'], n + 'up', mode='nearest',
         nearest_mode='floor', coordinate_transformation_mode='asymmetric')
    constant(n + 'zero', [0], np.float32)
    node('Mul', [n + 'up', n + 'zero'], n + 'nothing')
    node('Add', [wanted, n + 'nothing'], n + 'sum')
    return n + 'sum'
def head(name, stride, values, weight, bias):
    side = 640 // stride
    w = np.zeros((2 * values, 3, stride, stride), np.float32)
    w[:values] = weight / (3 * stride * stride)
    constant(name + 'w', w, np.float32)
    constant(name + 'b', bias, np.float32)
    node('Conv', ['x', name + 'w', name + 'b'], name + 'c', kernel_shape=[stride, stride],
         strides=[stride, stride])
    last = name + 'c'
    if is_open and values == 1 and stride > 8: last = like(last, last, stride)
    if is_open and values == 1 and stride == 8:
        node('MaxPool', [last], name + 'half', kernel_shape=[2, 2], strides=[2, 2])
        last = like(last, name + 'half', stride)
    node('Transpose', [last], name + 't', perm=[0, 2, 3, 1])
    rows = -1 if is_open else 2 * side * side
    constant(name + 's', [1, rows, values] if batched else [rows, values])
    out = str(400 + 20 * values + stride) if numbered else name
    node('Reshape', [name + 't', name + 's'], out + 'r' if values == 1 else out)
    if values == 1: node('Sigmoid', [out + 'r'], out)
    shape = [None if is_open else 2 * side * side, values]
    outputs.append(h.make_tensor_value_info(out, T.FLOAT, [1] + shape if batched else shape))
for stride in (8, 16, 32):
    if 'scores' in words:
        head(f's{stride}', stride, 1, 24 if stride == 8 else 0, [-10, -30] if stride == 8 else [-20] * 2)
for stride in (8, 16, 32):
    if 'boxes' in words: head(f'b{stride}', stride, 4, 0, [1, 2, 3, 4] * 2)
for stride in (8, 16, 32):
    points = [0, 0, 1, -1, 2, -2, 3, -3, 4, -4] + [0] * ('of_11' in words)
    if 'points' in words: head(f'k{stride}', stride, len(points), 0, points * 2)
if numbered: outputs.reverse()
sides = ['?', '?'] if is_open else [640, 640]
graph = h.make_graph(nodes, 'made', [h.make_tensor_value_info('x', T.FLOAT, [1, 3] + sides)],
                     outputs, weights)
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid('', 11)]), sys.argv[1])
)";

class FaceDetectorTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!python_) GTEST_SKIP() << python_.why_not();
  }
  std::filesystem::path model(const std::string& words = "scores,boxes,points") const {
    const auto path = folder_ / "model.onnx";
    python_.run(kMakeModel, path.string() + " " + words);
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

/// The place that is white in the pictures below.
void expect_sees(const FaceDetector& detector, int width, int height, int x, int y) {
  RgbImage picture = black(width, height);
  EXPECT_TRUE(detector.detect(picture).empty());
  paint(picture, x, y, 8, 255);
  const auto faces = detector.detect(picture);
  ASSERT_EQ(faces.size(), 1u);
  EXPECT_NEAR(faces[0].min.x, x - 8, 1e-3);
  EXPECT_NEAR(faces[0].landmarks[2].x, x + 16, 1e-3);
  EXPECT_NEAR(faces[0].landmarks[2].y, y - 16, 1e-3);
}

TEST_F(FaceDetectorTest, TakesAnySizeThatTheFileLeavesOpen) {
  const auto open = model("open,scores,boxes,points");
  EXPECT_EQ(FaceDetector(open).input_size(), (ImageSize{640, 640}));
  expect_sees(FaceDetector(open), 640, 480, 80, 160);
  expect_sees(FaceDetector(open, ImageSize{320, 320}), 320, 320, 312, 8);
  expect_sees(FaceDetector(open, ImageSize{96, 160}), 96, 160, 80, 104);
  expect_sees(FaceDetector(open, ImageSize{160, 96}), 160, 96, 136, 88);
  EXPECT_THAT(
      [&] {
        FaceDetector(open, ImageSize{320, 300});
      },
      ThrowsMessage<DataError>(HasSubstr("320 wide and 300 high, want multiples of 32")));
  EXPECT_THAT(
      [&] {
        FaceDetector(open, ImageSize{0, 0});
      },
      ThrowsMessage<DataError>(HasSubstr("want multiples of 32")));
}

TEST_F(FaceDetectorTest, TakesTheSizeThatTheFileFixes) {
  const auto fixed = model();
  EXPECT_EQ(FaceDetector(fixed, ImageSize{640, 640}).input_size(), (ImageSize{640, 640}));
  EXPECT_THAT(
      [&] {
        FaceDetector(fixed, ImageSize{320, 320});
      },
      ThrowsMessage<DataError>(HasSubstr("its input, 1 x 3 x 640 x 640: it takes no other "
                                         "size, so not 320 x 320")));
}

TEST_F(FaceDetectorTest, TakesOutputsOfAnyNameOrderAndRank) {
  for (const char* words : {"numbered,scores,boxes,points", "batched,scores,boxes,points",
                            "open,batched,numbered,scores,boxes,points"})
    expect_sees(FaceDetector(model(words)), 640, 640, 320, 88);
}

TEST_F(FaceDetectorTest, LooksAgainWithinABorderWhereItFindsNothing) {
  const FaceDetector detector(model());
  // No place of 8 x 8 has enough white, because the white square lies across their edges by 4 and 6
  // pixels. At 4/5 of the size, 64 pixels from the edge, it fills one place.
  RgbImage picture = black(640, 640);
  paint(picture, 20, 60, 10, 255);
  const auto faces = detector.detect(picture);
  ASSERT_EQ(faces.size(), 1u);
  EXPECT_NEAR(faces[0].landmarks[0].x, 20, 1e-3);
  EXPECT_NEAR(faces[0].landmarks[0].y, 60, 1e-3);
  EXPECT_NEAR(faces[0].max.x - faces[0].min.x, 4 * 10, 1e-3);
}

TEST_F(FaceDetectorTest, FindsTheSameFromSeveralThreads) {
  const FaceDetector detector(model("open,scores,boxes,points"), ImageSize{64, 64});
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (int k = 0; k < 5; ++k) {
          RgbImage picture = black(64, 64);
          paint(picture, 8 * i, 8 * k, 8, 255);
          const auto faces = detector.detect(picture);
          if (faces.size() == 1 && std::abs(faces[0].landmarks[0].x - 8 * i) < 1e-3 &&
              std::abs(faces[0].landmarks[0].y - 8 * k) < 1e-3)
            ++right;
        }
      });
    }
  }
  EXPECT_EQ(right, 20);
}

TEST_F(FaceDetectorTest, RefusesWhatIsNoScrfd) {
  EXPECT_THAT([&] { FaceDetector(folder_ / "none.onnx"); },
              ThrowsMessage<Error>(HasSubstr("none.onnx: cannot open: No such file")));
  write_text(folder_ / "text.onnx", "this is no network");
  EXPECT_THAT(
      [&] { FaceDetector(folder_ / "text.onnx"); },
      ThrowsMessage<Error>(HasSubstr("found a text that begins \"this is no network\", want "
                                     "an ONNX network")));
  EXPECT_THAT([&] { FaceDetector(model("open,scores,boxes")); },
              ThrowsMessage<Error>(HasSubstr("a detector without key points")));
  EXPECT_THAT([&] { FaceDetector(model("scores")); },
              ThrowsMessage<Error>(HasSubstr("a network of 1 input (1 x 3 x 640 x 640) and 3 "
                                             "outputs (12800 x 1); want an SCRFD detector")));
  EXPECT_THAT([&] { FaceDetector(model("of_11,scores,boxes,points")); },
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
