#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace pfc {

/// A network in ONNX's terms. Every tensor has a name. A node has one output, and comes after the
/// nodes that compute its inputs. A Gemm here is always x·Wᵀ (+ b).
struct OnnxGraph {
  using Attribute = std::variant<float, std::int64_t, std::vector<std::int64_t>>;

  struct Node {
    std::string op;
    std::vector<std::string> inputs;
    std::string output;
    std::map<std::string, Attribute> attributes = {};
    std::string name = {};  ///< of a node that was read, for messages
  };

  enum class Type { kFloat32, kFloat16, kInt64 };

  struct Constant {
    std::vector<std::int64_t> shape;
    std::vector<double> values;  ///< row-major; rounded only when written
    Type type = Type::kFloat32;  ///< as it is written
  };

  struct Port {
    std::string name;
    std::vector<std::int64_t> shape;  ///< for one image: the extents after N
  };

  std::string network;
  Port input, output;
  std::int64_t batch = 0;  ///< N of input and output; 0: open
  std::vector<Node> nodes;
  std::map<std::string, Constant> constants;
};

/// How many nodes use a tensor; the graph's output counts as one.
std::int64_t uses(const OnnxGraph& graph, const std::string& tensor);

/// Folds each BatchNormalization into the Conv or Gemm before it, otherwise into the Gemm after it
/// (a Flatten may be in between). It stays if another node uses a tensor that would change. A new
/// bias gets the name of the normalisation's bias.
void fold_batch_norms(OnnxGraph& graph);

/// Puts (x − 127.5) · (1 / 127.5) before the first nodes, as a Sub and a Mul: by these
/// InsightFace's tools know that a network takes pixels.
void normalize_input(OnnxGraph& graph);

/// Divides each row of the output by its length.
void normalize_output(OnnxGraph& graph);

/// Makes the graph compute in float16, which halves the file. Input and output stay float32. A
/// normalisation that was not folded becomes a scale and a shift, because a small variance is 0 in
/// float16. Throws Error for a constant beyond float16's 65,504.
void use_float16(OnnxGraph& graph);

/// The bytes of an ONNX file. Its opset is 11, or 17 if it has a LayerNormalization. Throws Error
/// if they would exceed ONNX's 2 GiB.
std::string encode_onnx(const OnnxGraph& graph);

}  // namespace pfc
