#include "pfc/formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "pfc/base/error.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Property;
using testing::SizeIs;

/// A file in memory: the header and `data_bytes` bytes of data.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + std::string(data_bytes, 'x');
}

SafetensorsContent read_back(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file)), "model.safetensors");
}

void expect_error(const std::string& file, const std::string& sentence) {
  EXPECT_THAT([&] { read_back(file); },
              testing::Throws<DataError>(Property(&DataError::what, HasSubstr(sentence))))
      << file.substr(8);
}

TEST(Safetensors, ReadsNamesShapesBytesAndMetadata) {
  const auto file = file_of(R"({"__metadata__":{"network":"r18"},)"
                            R"("b":{"dtype":"F32","shape":[2,1],"data_offsets":[4,12]},)"
                            R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},)"
                            R"("none":{"dtype":"F64","shape":[0,3],"data_offsets":[4,4]}}   )",
                            12);
  const auto content = read_back(file);
  ASSERT_THAT(content.tensors, SizeIs(3));
  EXPECT_EQ(content.tensors[0].name, "a");
  EXPECT_EQ(content.tensors[0].dtype, "BF16");
  EXPECT_EQ(content.tensors[1].name, "none");
  EXPECT_EQ(content.tensors[2].name, "b");
  EXPECT_THAT(content.tensors[2].shape, ElementsAre(2, 1));
  EXPECT_THAT(content.tensors[2].bytes, SizeIs(8));
  EXPECT_EQ(content.metadata.at("network"), "r18");
}

TEST(Safetensors, SaysWhatIsWrongWithAFile) {
  expect_error("\x05\0\0"s, "the file has 3 bytes, want at least 8");
  expect_error("\x08\x06\x12\x07pytorch", "found an ONNX network, want a safetensors file");
  expect_error(std::string(8, '\xff') + "{}",
               "a safetensors header of 18446744073709551615 bytes, want at most 2");
  expect_error(file_of("{\"a\":", 0), "header, byte 6: not JSON");
  expect_error(file_of("[]", 0), "not a JSON object");
  expect_error(file_of(R"({"a":[[[[]]]]})", 0), "nested too deeply");
  expect_error(file_of(R"({"a":1})", 0), "tensor 'a': not a JSON object");
  expect_error(file_of(R"({"a":1e999})", 0), "a number beyond every type");
  expect_error(file_of(R"({"__metadata__":{"a":1}})", 0), "the value of 'a' is not a string");

  const auto tensor = [](const char* name, const char* dtype, const char* shape,
                         const char* offsets) {
    return '"' + std::string(name) + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape +
           R"(,"data_offsets":)" + offsets + '}';
  };
  expect_error(file_of('{' + tensor("a", "F33", "[1]", "[0,4]") + '}', 4), "unknown dtype 'F33'");
  expect_error(file_of('{' + tensor("a", "F32", "[1]", "[0,4,8]") + '}', 4),
               "want two data_offsets");
  expect_error(file_of('{' + tensor("a", "F32", "[-1]", "[0,4]") + '}', 4), "integers from 0");
  expect_error(file_of('{' + tensor("a", "F32", "[1.5]", "[0,4]") + '}', 4), "integers from 0");
  expect_error(file_of('{' + tensor("a", "F32", "7", "[0,4]") + '}', 4), "want an array 'shape'");
  expect_error(file_of('{' + tensor("a", "F32", "[1]", "[4,0]") + '}', 4),
               "want a range of the 4 bytes");
  expect_error(file_of('{' + tensor("a", "F32", "[2]", "[0,8]") + '}', 4),
               "want a range of the 4 bytes");
  expect_error(file_of('{' + tensor("a", "F32", "[2]", "[0,4]") + '}', 4),
               "span 4 bytes, the shape has 8");
  expect_error(file_of('{' + tensor("a", "F32", "[4611686018427387904,4]", "[0,0]") + '}', 4),
               "more than 2^64 bytes");
  expect_error(file_of('{' + tensor("a", "F32", "[1]", "[0,4]") + ',' +
                           tensor("a", "F32", "[1]", "[4,8]") + '}',
                       8),
               "the name 'a' comes twice");
  expect_error(file_of('{' + tensor("a", "F32", "[1]", "[0,4]") + ',' +
                           tensor("b", "F32", "[1]", "[2,6]") + '}',
                       6),
               "tensor 'b': begins at 2 of the data, want 4");
  expect_error(file_of('{' + tensor("a", "F32", "[1]", "[4,8]") + '}', 8),
               "begins at 4 of the data, want 0");
  expect_error(file_of('{' + tensor("a", "F32", "[1]", "[0,4]") + '}', 6),
               "2 bytes of data belong to no tensor");
}

TEST(Safetensors, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  const std::vector<float> narrow = {1, 2, 3};
  const std::int64_t wide = 7;
  write_safetensors(path,
                    {{"narrow", "F32", {3, 1}, std::as_bytes(std::span(narrow))},
                     {"wide", "I64", {}, std::as_bytes(std::span(&wide, 1))}},
                    {{"network", "tiny"}});
  const SafetensorsFile file(path);
  ASSERT_THAT(file.tensors(), SizeIs(2));
  EXPECT_EQ(file.tensors()[0].name, "wide");
  EXPECT_EQ(
      reinterpret_cast<std::uintptr_t>(file.tensors()[0].bytes.data()) % alignof(std::int64_t), 0U);
  EXPECT_TRUE(std::ranges::equal(file.tensors()[1].bytes, std::as_bytes(std::span(narrow))));
  EXPECT_THAT(file.tensors()[1].shape, ElementsAre(3, 1));
  EXPECT_EQ(file.metadata("network"), "tiny");
  EXPECT_THROW(file.metadata("absent"), DataError);
}

}  // namespace
}  // namespace pfc
