#include "file/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "file/input_file.h"

namespace awq::file {
namespace {

constexpr std::uint64_t kReadBytes = std::uint64_t{4} << 20;

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};

}  // namespace

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, FreeContext> context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  AWQ_CHECK(state_->context != nullptr);
  AWQ_CHECK(EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

Sha256& Sha256::update(std::span<const std::byte> bytes) {
  AWQ_CHECK(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1);
  return *this;
}

Sha256& Sha256::update(std::string_view text) { return update(std::as_bytes(std::span(text.data(), text.size()))); }

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  AWQ_CHECK(EVP_DigestFinal_ex(state_->context.get(), digest.data(), &length) == 1 && length == 32);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(std::size_t{2} * length);
  for (unsigned i = 0; i < length; ++i) {
    out += kDigits[digest[i] >> 4];
    out += kDigits[digest[i] & 15];
  }
  return out;
}

std::string sha256_hex(std::string_view bytes) { return Sha256().update(bytes).hex(); }

std::string sha256_file(const std::filesystem::path& path) {
  const InputFile input(path);
  Sha256 hash;
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(kReadBytes, input.size_bytes())));
  for (std::uint64_t offset = 0; offset < input.size_bytes(); offset += buffer.size()) {
    const std::uint64_t count = std::min<std::uint64_t>(buffer.size(), input.size_bytes() - offset);
    const std::span<std::byte> part(buffer.data(), static_cast<std::size_t>(count));
    input.read_at(offset, part);
    hash.update(part);
  }
  return hash.hex();
}

}  // namespace awq::file
