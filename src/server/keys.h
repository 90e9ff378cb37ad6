#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace awq::server {

/// The keys that open the server. Only their digests are kept, and they are compared in constant time.
class Keys {
 public:
  /// One key per line of `file` (empty: none); AWQ_API_KEY in the environment is one more. Throws kNotFound,
  /// kCorruptFile for a file without a key.
  static Keys load(const std::filesystem::path& file);

  void add(std::string_view key);
  bool empty() const { return digests_.empty(); }
  /// Whose request it is: what the key has in common with no other key (a digest), empty where there are not several
  /// keys to tell apart; nothing for a request that has none of them. `authorization`: value of that header ("Bearer
  /// KEY"); `api_key`: value of X-Api-Key.
  std::optional<std::string> holder(std::string_view authorization, std::string_view api_key) const;

 private:
  std::vector<std::string> digests_;
};

}  // namespace awq::server
