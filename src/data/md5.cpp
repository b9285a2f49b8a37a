#include "data/md5.h"

#include <openssl/evp.h>

#include <array>

#include "pfc/base/error.h"
#include "pfc/base/format.h"

namespace pfc {

void Md5::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Md5::Md5() : context_(EVP_MD_CTX_new()) {
  begin();
}

void Md5::begin() {
  if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_md5(), nullptr) != 1)
    throw Error("this machine's OpenSSL refuses md5 sums");
}

void Md5::add(std::span<const std::byte> bytes) {
  EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
}

std::string Md5::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(context_.get(), digest.data(), &size);
  begin();
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += format("%02x", digest[i]);
  return text;
}

}  // namespace pfc
