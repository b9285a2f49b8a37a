#pragma once

#include <cstddef>  // for std::byte
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace pfc {

/// The md5 sum that files are distributed with (by OpenSSL).
class Md5 {
 public:
  Md5();
  void add(std::span<const std::byte> bytes);
  /// 32 lower-case hexadecimal digits. The next sum then begins.
  std::string finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  void begin();

  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace pfc
