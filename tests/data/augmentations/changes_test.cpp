#include "data/augmentations/changes.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "pfc/base/files.h"
#include "pfc/base/random.h"
#include "pfc/data/synthetic_face.h"
#include "python.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

/// What each change should have made, from Pillow where torchvision calls Pillow, otherwise from
/// the formulas that torchvision and OpenCV state. Prints the largest difference for each case.
constexpr const char* kReference = R"py(
import io, json, math, pathlib, sys
import numpy
from PIL import Image, ImageEnhance

folder = pathlib.Path(sys.argv[1])

def enhanced(kind):
    return lambda image, case: kind(Image.fromarray(image)).enhance(case["factor"])

def keep_box(image, case):
    left, top, width, height = case["box"]
    black = Image.new("RGB", (image.shape[1], image.shape[0]))
    black.paste(Image.fromarray(image).crop((left, top, left + width, top + height)), (left, top))
    return black

def erase_box(image, case):
    left, top, width, height = case["box"]
    image = image.copy()
    image[top:top + height, left:left + width] = 0
    return image

def enlarge_box(image, case):
    left, top, width, height = case["box"]
    box = Image.fromarray(image).crop((left, top, left + width, top + height))
    return box.resize((image.shape[1], image.shape[0]), Image.BILINEAR)

def jpeg(image, case):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=case["quality"])
    return Image.open(file).convert("RGB")

def blur(image, case):  # torchvision.transforms.functional.gaussian_blur
    sigma = case["sigma"]
    radius = math.ceil(3 * sigma)
    taps = numpy.exp(-0.5 * (numpy.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    out = image.astype(float)
    for axis in 0, 1:
        around = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
        padded = numpy.pad(out, around, "reflect")
        windows = numpy.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis)
        out = windows @ taps
    return numpy.round(out)

def affine(image, case):  # torchvision.transforms.functional.affine of a tensor, on zeros
    height, width, _ = image.shape
    angle, shear = math.radians(case["degrees"]), math.radians(case["shear"])
    turn = numpy.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = case["scale"] * turn @ numpy.array([[1, -math.tan(shear)], [0, 1]])
    y, x = numpy.mgrid[:height, :width].astype(float)
    middle = numpy.array([(width - 1) / 2, (height - 1) / 2])
    places = numpy.stack([x, y], -1) - middle - numpy.array(case["shift"])
    places = places @ numpy.linalg.inv(linear).T + middle
    padded = numpy.pad(image.astype(float), [(1, 1), (1, 1), (0, 0)])
    out = numpy.zeros(image.shape)
    low = numpy.floor(places).astype(int)
    for dy in 0, 1:
        for dx in 0, 1:
            at = low + [dx, dy]
            weight = numpy.prod(1 - numpy.abs(places - at), -1)
            at = numpy.clip(at + 1, 0, [width + 1, height + 1])
            out += weight[..., None] * padded[at[..., 1], at[..., 0]]
    return numpy.round(out)

def lanczos(x):
    return numpy.sinc(x) * numpy.sinc(x / 4) * (numpy.abs(x) < 4)

def cubic(x, a=-0.75):
    x = numpy.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return numpy.where(x <= 1, near, numpy.where(x < 2, far, 0))

def linear(x):
    return 1 - numpy.abs(x)

kernels = dict(bilinear=(1, linear), area=(1, linear), cubic=(2, cubic), lanczos=(4, lanczos))

def weights(size, new, how):
    """[new, size]: what each pixel of the result takes of each pixel."""
    scale = size / new
    all = numpy.zeros((new, size))
    for i in range(new):
        if how == "nearest":
            all[i, min(size - 1, math.floor(i * (1 / (new / size))))] = 1  # as OpenCV rounds
        elif how == "area" and scale >= 1:
            for j in range(size):
                all[i, j] = max(0, min(j + 1, (i + 1) * scale) - max(j, i * scale)) / scale
        else:
            if how == "area":  # enlarged: a blend only where a pixel of the result meets two
                at = math.floor(i * scale)
                at += max(0, (i + 1) - (at + 1) / scale)
            else:
                at = (i + 0.5) * scale - 0.5
            reach, kernel = kernels[how]
            low = math.floor(at)
            taps = numpy.arange(low - reach + 1, low + reach + 1)
            values = kernel(at - taps)
            for j, value in zip(taps, values / values.sum()):
                all[i, min(max(j, 0), size - 1)] += value
    return all

def resized(image, width, height, how):
    rows = numpy.einsum("yi,ijc->yjc", weights(image.shape[0], height, how), image.astype(float))
    out = numpy.einsum("xj,yjc->yxc", weights(image.shape[1], width, how), rows)
    return numpy.clip(numpy.round(out), 0, 255)

def resample(image, case):  # cv2.resize
    return resized(image, *case["to"], case["how"])

changes = dict(
    brightness=enhanced(ImageEnhance.Brightness), contrast=enhanced(ImageEnhance.Contrast),
    saturation=enhanced(ImageEnhance.Color), keep_box=keep_box, erase_box=erase_box,
    enlarge_box=enlarge_box, jpeg=jpeg, blur=blur, affine=affine, resample=resample)

def picture(name, width, height):
    return numpy.fromfile(folder / name, numpy.uint8).reshape(height, width, 3)

for case in json.loads((folder / "cases.json").read_text()):
    before = picture(case["before"], *case["of"])
    want = numpy.asarray(changes[case["change"]](before, case))
    got = picture(case["after"], *case["to"])
    print(numpy.abs(want.astype(int) - got).max())
)py";

/// Changes pictures, and asks Python by how much others' results differ.
class Changes : public testing::Test {
 protected:
  void SetUp() override {
    if (!python_) GTEST_SKIP() << python_.why_not();
  }

  /// Remembers what a change with these parameters has made of an image.
  void add(const RgbImage& before, nlohmann::json parameters, const RgbImage& after) {
    const std::string number = std::to_string(cases_.size());
    parameters["before"] = number + ".before";
    parameters["of"] = {before.width, before.height};
    parameters["after"] = number + ".after";
    parameters["to"] = {after.width, after.height};
    write_text(folder_ / (number + ".before"), as_text(before.pixels));
    write_text(folder_ / (number + ".after"), as_text(after.pixels));
    cases_.push_back(std::move(parameters));
  }
  void add(RgbImage image, nlohmann::json parameters,
           const std::function<void(const ImageView&)>& change) {
    const RgbImage before = image;
    change(view(image));
    add(before, std::move(parameters), image);
  }
  static ImageView view(RgbImage& image) {
    return {image.pixels.data(), image.width, image.height};
  }

  /// In no pixel do the results differ by more grey levels.
  void expect_within(int levels) const {
    write_text(folder_ / "cases.json", nlohmann::json(cases_).dump());
    std::istringstream printed(python_.run(kReference, folder_.path()));
    for (const nlohmann::json& each : cases_) {
      int found = -1;
      printed >> found;
      EXPECT_TRUE(found >= 0 && found <= levels) << found << " grey levels: " << each;
    }
  }

 private:
  static std::string as_text(const std::vector<std::uint8_t>& bytes) {
    return {bytes.begin(), bytes.end()};
  }

  const Python python_{"PIL, numpy"};
  const TemporaryFolder folder_;
  std::vector<nlohmann::json> cases_;
};

RgbImage noisy_image(int width, int height) {
  RgbImage image{width, height, {}};
  const CounterRandom random(7, RandomStream::kSheet);
  for (std::uint64_t i = 0; i < 3 * static_cast<std::uint64_t>(width * height); ++i)
    image.pixels.push_back(static_cast<std::uint8_t>(random.below(256, 0, i)));
  return image;
}

/// A face, and what is as far from one as can be.
std::vector<RgbImage> tested_images() {
  return {synthetic_face(1, 2, 3), noisy_image(112, 112), noisy_image(37, 90)};
}

TEST_F(Changes, OfBrightnessContrastAndSaturationArePillows) {
  for (const RgbImage& picture : tested_images()) {
    for (const double factor : {0.5, 0.77, 1.0, 1.3, 1.5}) {
      add(picture, {{"change", "brightness"}, {"factor", factor}},
          [&](const ImageView& image) { change_brightness(image, factor); });
      add(picture, {{"change", "contrast"}, {"factor", factor}},
          [&](const ImageView& image) { change_contrast(image, factor); });
      add(picture, {{"change", "saturation"}, {"factor", factor}},
          [&](const ImageView& image) { change_saturation(image, factor); });
    }
  }
  expect_within(0);
}

TEST_F(Changes, OfBoxesArePillowsWithinALevel) {
  for (const RgbImage& picture : tested_images()) {
    for (const ImageBox& box : {ImageBox{0, 0, picture.width, picture.height},
                                {3, 10, 30, 55},
                                {36, 5, 1, 1},
                                {0, 40, 20, 50}}) {
      const std::array at = {box.left, box.top, box.width, box.height};
      add(picture, {{"change", "keep_box"}, {"box", at}},
          [&](const ImageView& image) { keep_box(image, box); });
      add(picture, {{"change", "erase_box"}, {"box", at}},
          [&](const ImageView& image) { erase_box(image, box); });
      add(picture, {{"change", "enlarge_box"}, {"box", at}},
          [&](const ImageView& image) { enlarge_box(image, box); });
    }
  }
  expect_within(1);
}

TEST_F(Changes, BlurIsTorchvisionsGaussianWithinALevel) {
  for (const RgbImage& picture : tested_images()) {
    for (const double sigma : {0.1, 0.4, 1.0, 1.7, 2.0, 6.0}) {
      add(picture, {{"change", "blur"}, {"sigma", sigma}},
          [&](const ImageView& image) { blur(image, sigma); });
    }
  }
  expect_within(1);
}

TEST_F(Changes, JpegAgainIsPillows) {
  for (const RgbImage& picture : tested_images()) {
    for (const int quality : {1, 30, 50, 75, 90, 95}) {
      add(picture, {{"change", "jpeg"}, {"quality", quality}},
          [&](const ImageView& image) { jpeg_again(image, quality); });
    }
  }
  expect_within(0);
}

TEST_F(Changes, MapAffineIsTorchvisionsWithinALevel) {
  for (const RgbImage& picture : tested_images()) {
    for (const AffineChange& affine :
         {AffineChange{},
          AffineChange{.degrees = 90},
          {.shift_x = 5, .shift_y = -3},
          {.scale = 0.8},
          {.shear_degrees = 20},
          {.degrees = -33, .shift_x = -4, .shift_y = 9, .scale = 1.2, .shear_degrees = -5}}) {
      add(picture,
          {{"change", "affine"},
           {"degrees", affine.degrees},
           {"shift", {affine.shift_x, affine.shift_y}},
           {"scale", affine.scale},
           {"shear", affine.shear_degrees}},
          [&](const ImageView& image) { map_affine(image, affine); });
    }
  }
  expect_within(1);
}

TEST_F(Changes, ResampledImagesAreThoseOfOpenCvsFormulasWithinALevel) {
  constexpr std::array kNames = {"nearest", "bilinear", "area", "cubic", "lanczos"};
  constexpr ImageSize kSmall[] = {{28, 28}, {23, 50}, {37, 90}, {1, 3}};
  for (const Resampling how : kResamplings) {
    for (const RgbImage& picture : tested_images()) {
      for (const ImageSize& size : kSmall) {
        RgbImage large = picture, small = noisy_image(size.width, size.height), back = picture;
        const RgbImage other = small;
        resample(view(large), view(small), how);
        add(picture, {{"change", "resample"}, {"how", kNames[static_cast<std::size_t>(how)]}},
            small);
        small = other;
        resample(view(small), view(back), how);
        add(other, {{"change", "resample"}, {"how", kNames[static_cast<std::size_t>(how)]}}, back);
      }
    }
  }
  expect_within(1);
}

}  // namespace
}  // namespace pfc
