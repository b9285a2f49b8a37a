#include "data/pickle.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "data/pickle_objects.h"
#include "data/pickle_text.h"
#include "pfc/base/error.h"

namespace pfc::pickle {
namespace {

std::string_view view(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string hex(std::uint8_t byte) {
  constexpr char kDigits[] = "0123456789abcdef";
  return {'0', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
}

/// A name from outside, fit for a line of an error.
std::string printable(std::string_view name) {
  constexpr std::size_t kLongest = 80;
  std::string text(name.substr(0, kLongest));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return name.size() > kLongest ? text + "..." : text;
}

/// Takes bytes from the front, and never more than there are.
class Cursor {
 public:
  explicit Cursor(Bytes bytes) : bytes_(bytes) {}

  std::size_t offset() const { return offset_; }

  Bytes take(std::uint64_t size) {
    if (size > bytes_.size() - offset_) {
      throw Error("the file ends here, " + std::to_string(bytes_.size() - offset_) +
                  " bytes before the end of an item of " + std::to_string(size) + " bytes");
    }
    const Bytes taken = bytes_.subspan(offset_, size);
    offset_ += taken.size();
    return taken;
  }

  /// An unsigned little-endian number of `size` bytes, at most 8.
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    const Bytes bytes = take(size);
    for (std::size_t i = 0; i < size; ++i) {
      value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
    }
    return value;
  }

  /// Up to the next newline, which is taken too.
  Bytes line() {
    const auto begin = bytes_.begin() + static_cast<std::ptrdiff_t>(offset_);
    const auto end = std::find(begin, bytes_.end(), std::byte{'\n'});
    if (end == bytes_.end()) throw Error("the file ends within a line");
    const Bytes taken = take(static_cast<std::uint64_t>(end - begin));
    ++offset_;
    return taken;
  }

 private:
  Bytes bytes_;
  std::size_t offset_ = 0;
};

/// The stack machine that a pickle is a program for. Every operation puts down at most one value
/// and a pickle's values hold no copies of each other, so memory stays in proportion to the file.
class Machine {
 public:
  explicit Machine(Bytes bytes) : in_(bytes) {}

  std::size_t offset() const { return in_.offset(); }

  /// Runs one operation; false after the last one.
  bool step();
  Document finish() && {
    document_.root = pop();
    return std::move(document_);
  }

 private:
  void push(Value value) { stack_.push_back(value); }
  void push_utf8(Bytes text);
  void push_int(std::string_view digits);
  void push_long(std::uint64_t size);
  void push_global(std::string_view module, std::string_view name);
  void push_tuple(std::size_t size);
  void push_sequence(std::vector<Value> items, bool is_list);

  Value pop();
  Value& top();
  std::vector<Value> pop_to_mark();
  std::vector<Value>& top_list();

  void remember(std::uint64_t index);
  void recall(std::uint64_t index);
  std::uint64_t line_number();

  Bytes keep(std::optional<std::vector<std::byte>> bytes);

  Cursor in_;
  std::vector<Value> stack_;
  std::vector<std::size_t>
      marks_;  ///< sizes of the stack; nothing below the last one may be popped
  std::vector<Value> memo_;
  Document document_;
};

bool Machine::step() {
  const auto code = static_cast<std::uint8_t>(in_.number(1));
  switch (code) {
    case 0x80:  // PROTO
      if (const auto protocol = in_.number(1); protocol > 5) {
        throw Error("pickle protocol " + std::to_string(protocol) + ", want at most 5");
      }
      return true;
    case 0x95:  // FRAME
      in_.take(8);
      return true;
    case '.':  // STOP
      return false;

    case 'N':  // NONE
      push(None{});
      return true;
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      push(code == 0x88);
      return true;
    case 'K':  // BININT1
      push(static_cast<std::int64_t>(in_.number(1)));
      return true;
    case 'M':  // BININT2
      push(static_cast<std::int64_t>(in_.number(2)));
      return true;
    case 'J':  // BININT
      push(std::int64_t{static_cast<std::int32_t>(in_.number(4))});
      return true;
    case 'I':  // INT
    case 'L':  // LONG
      push_int(view(in_.line()));
      return true;
    case 0x8a:  // LONG1
      push_long(in_.number(1));
      return true;
    case 0x8b:  // LONG4
      push_long(in_.number(4));
      return true;

    case 'C':  // SHORT_BINBYTES
    case 'U':  // SHORT_BINSTRING, the bytes of Python 2
      push(in_.take(in_.number(1)));
      return true;
    case 'B':  // BINBYTES
    case 'T':  // BINSTRING
      push(in_.take(in_.number(4)));
      return true;
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      push(in_.take(in_.number(8)));
      return true;
    case 'S':  // STRING
      push(keep(bytes_from_repr(in_.line())));
      return true;
    case 0x8c:  // SHORT_BINUNICODE
      push_utf8(in_.take(in_.number(1)));
      return true;
    case 'X':  // BINUNICODE
      push_utf8(in_.take(in_.number(4)));
      return true;
    case 0x8d:  // BINUNICODE8
      push_utf8(in_.take(in_.number(8)));
      return true;
    case 'V':  // UNICODE
      push(Text{keep(latin1_from_raw_escapes(in_.line()))});
      return true;

    case '(':  // MARK
      marks_.push_back(stack_.size());
      return true;
    case ')':  // EMPTY_TUPLE
      push_tuple(0);
      return true;
    case 0x85:  // TUPLE1
    case 0x86:  // TUPLE2
    case 0x87:  // TUPLE3
      push_tuple(code - 0x84u);
      return true;
    case 't':  // TUPLE
    case 'l':  // LIST
      push_sequence(pop_to_mark(), code == 'l');
      return true;
    case ']':  // EMPTY_LIST
      push_sequence({}, true);
      return true;
    case 'a': {  // APPEND
      const Value item = pop();
      top_list().push_back(item);
      return true;
    }
    case 'e': {  // APPENDS
      const std::vector<Value> items = pop_to_mark();
      std::vector<Value>& list = top_list();
      list.insert(list.end(), items.begin(), items.end());
      return true;
    }

    case 'p':  // PUT
      remember(line_number());
      return true;
    case 'q':  // BINPUT
      remember(in_.number(1));
      return true;
    case 'r':  // LONG_BINPUT
      remember(in_.number(4));
      return true;
    case 0x94:  // MEMOIZE
      remember(memo_.size());
      return true;
    case 'g':  // GET
      recall(line_number());
      return true;
    case 'h':  // BINGET
      recall(in_.number(1));
      return true;
    case 'j':  // LONG_BINGET
      recall(in_.number(4));
      return true;

    case 'c': {  // GLOBAL
      const Bytes module = in_.line();
      push_global(view(module), view(in_.line()));
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      const Value name = pop(), module = pop();
      if (!std::holds_alternative<Text>(name) || !std::holds_alternative<Text>(module)) {
        throw Error("a global that is named by " + std::string(kind(name)));
      }
      push_global(view(std::get<Text>(module).latin1), view(std::get<Text>(name).latin1));
      return true;
    }
    case 'R': {  // REDUCE
      const Value arguments = pop(), callable = pop();
      push(call(callable, arguments, document_));
      return true;
    }
    case 'b': {  // BUILD
      const Value state = pop();
      set_state(top(), state, document_);
      return true;
    }
    default:
      throw Error("operation " + hex(code) + " is not allowed in a verification set");
  }
}

void Machine::push_utf8(Bytes text) {
  push(Text{is_ascii(text) ? text : keep(latin1_from_utf8(text))});
}

void Machine::push_int(std::string_view digits) {
  if (digits == "00" || digits == "01") return push(digits == "01");
  if (digits.ends_with('L')) digits.remove_suffix(1);
  std::int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error != std::errc() || stop != end) throw Error("a malformed number");
  push(value);
}

void Machine::push_long(std::uint64_t size) {
  if (size > 8) throw Error("a number of " + std::to_string(size) + " bytes, want at most 8");
  std::uint64_t value = in_.number(size);
  if (size > 0 && size < 8 && (value >> (8 * size - 1)) != 0)
    value |= ~std::uint64_t{0} << 8 * size;
  push(static_cast<std::int64_t>(value));
}

void Machine::push_global(std::string_view module, std::string_view name) {
  const auto global = find_global(module, name);
  if (!global) {
    throw Error("global " + printable(module) + "." + printable(name) +
                " is not allowed in a verification set");
  }
  push(*global);
}

void Machine::push_tuple(std::size_t size) {
  std::vector<Value> items(size);
  std::generate(items.rbegin(), items.rend(), [&] { return pop(); });
  push_sequence(std::move(items), false);
}

void Machine::push_sequence(std::vector<Value> items, bool is_list) {
  document_.sequences.push_back(std::move(items));
  push(Sequence{document_.sequences.size() - 1, is_list});
}

Value Machine::pop() {
  const Value value = top();
  stack_.pop_back();
  return value;
}

Value& Machine::top() {
  if (stack_.size() == (marks_.empty() ? 0 : marks_.back())) {
    throw Error("an operation on an empty stack");
  }
  return stack_.back();
}

std::vector<Value> Machine::pop_to_mark() {
  if (marks_.empty()) throw Error("an operation that wants a mark, without one");
  const auto mark = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Value> items(mark, stack_.end());
  stack_.erase(mark, stack_.end());
  marks_.pop_back();
  return items;
}

std::vector<Value>& Machine::top_list() {
  const auto* list = std::get_if<Sequence>(&top());
  if (list == nullptr || !list->is_list) {
    throw Error("an item for " + std::string(kind(top())) + ", want a list");
  }
  return document_.sequences[list->index];
}

void Machine::remember(std::uint64_t index) {
  // Picklers number what they remember in order, so that no number is above the bytes read so far.
  if (index > in_.offset()) throw Error("memo number " + std::to_string(index) + " out of order");
  if (index >= memo_.size()) memo_.resize(index + 1);
  memo_[index] = top();
}

void Machine::recall(std::uint64_t index) {
  if (index >= memo_.size() || std::holds_alternative<std::monostate>(memo_[index])) {
    throw Error("memo number " + std::to_string(index) + " was never set");
  }
  push(memo_[index]);
}

std::uint64_t Machine::line_number() {
  const std::string_view digits = view(in_.line());
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error != std::errc() || stop != end) throw Error("a malformed memo number");
  return value;
}

Bytes Machine::keep(std::optional<std::vector<std::byte>> bytes) {
  if (!bytes) throw Error("text that is malformed or has characters beyond Latin-1");
  return document_.decoded.emplace_back(std::move(*bytes));
}

struct KindName {
  std::string_view operator()(std::monostate) const { return "nothing"; }
  std::string_view operator()(None) const { return "None"; }
  std::string_view operator()(bool) const { return "a bool"; }
  std::string_view operator()(std::int64_t) const { return "a number"; }
  std::string_view operator()(Bytes) const { return "bytes"; }
  std::string_view operator()(Text) const { return "a text"; }
  std::string_view operator()(Sequence s) const { return s.is_list ? "a list" : "a tuple"; }
  std::string_view operator()(Array) const { return "a numpy array"; }
  std::string_view operator()(DType) const { return "a numpy type"; }
  std::string_view operator()(Global) const { return "a global"; }
};

}  // namespace

std::string_view kind(const Value& value) {
  return std::visit(KindName{}, value);
}

Document read(std::string_view file, Bytes bytes) {
  Machine machine(bytes);
  std::size_t offset = 0;
  try {
    while (machine.step()) offset = machine.offset();
    return std::move(machine).finish();
  } catch (const Error& error) {
    throw DataError(file, "offset " + std::to_string(offset), error.what());
  }
}

}  // namespace pfc::pickle
