#pragma once

#include <memory>
#include <string>

#include "text/json_field.h"

namespace awq::text {

/// Rewrites one run of text before it is cut into words.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// `text` is valid UTF-8. `is_first`: it is the beginning of the whole input.
  virtual void apply(std::string& text, bool is_first) const = 0;
};

/// The `normalizer` of tokenizer.json. Throws kUnsupported for a type that is not implemented.
std::unique_ptr<Normalizer> read_normalizer(const JsonField& field);

/// What SentencePiece does to spaces.
struct SpaceRules {
  bool add_dummy_prefix = true;
  bool only_first_run = false;  ///< the dummy prefix goes to the beginning of the input alone
  bool remove_extra_whitespaces = false;
  bool escape_whitespaces = true;
};
std::unique_ptr<Normalizer> make_space_normalizer(const SpaceRules& rules);

/// Applies a normalizer that may be absent. Throws kUnsupported when the text grows beyond all reason.
void normalize(const Normalizer* normalizer, std::string& text, bool is_first);

}  // namespace awq::text
