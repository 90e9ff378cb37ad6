// A conversation: texts that begin like the ones before compute only what is new, and say what they would say alone.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "generate/generation.h"
#include "kernels/api/attention.h"
#include "model/language_model.h"
#include "support/paths.h"
#include "text/tokenizer.h"

namespace awq::generate {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr std::int64_t kBlock = kernels::kKvBlockTokens;

class KeptText : public testing::Test {
 protected:
  const std::filesystem::path folder_ = std::filesystem::path(AWQ_SOURCE_DIR) / "models/books-12m";
  model::LanguageModel model_{model::ModelFiles::open(folder_)};
  std::unique_ptr<text::Tokenizer> tokenizer_ = text::Tokenizer::load(folder_);
  KeptContext kept_;
  GenerationOptions options_;

  /// An answer with what was kept, which has to be the answer without it.
  GenerationResult answer(const Ids& prompt) {
    GenerationResult out = generate(model_, *tokenizer_, prompt, options_, {}, &kept_);
    const GenerationResult alone = generate(model_, *tokenizer_, prompt, options_, {});
    EXPECT_EQ(out.token_ids, alone.token_ids);
    EXPECT_EQ(out.text, alone.text);
    EXPECT_EQ(alone.cached_tokens, 0);
    return out;
  }
  void add(Ids& ids, const std::string& text) const {
    const Ids more = tokenizer_->encode(text, {});
    ids.insert(ids.end(), more.begin(), more.end());
  }
};

TEST_F(KeptText, ATurnComputesOnlyWhatIsNew) {
  options_.ignore_eos = true;
  options_.kv_dtype = ops::KvDtype::kF16;
  options_.sampling.max_tokens = 30;
  Ids ids = tokenizer_->encode("The old man looked at the sea and said that he would go", {.add_special_tokens = true});
  EXPECT_EQ(answer(ids).cached_tokens, 0);
  for (const char* text :
       {" The boy was not there.", " Then", " It was late, and nobody had seen the boat since noon."}) {
    const GenerationResult before = generate(model_, *tokenizer_, ids, options_, {}, &kept_);
    ids.insert(ids.end(), before.token_ids.begin(), before.token_ids.end());
    // Of the answer before all but the last token went through the model; whole blocks are kept.
    const auto known = static_cast<std::int64_t>(ids.size()) - 1;
    add(ids, text);
    const GenerationResult now = answer(ids);
    EXPECT_EQ(now.cached_tokens, known / kBlock * kBlock);
    EXPECT_LT(static_cast<std::int64_t>(ids.size()) - now.cached_tokens, kBlock + 20);
  }
}

TEST_F(KeptText, AnAnswerThatWasEndedFromOutsideIsKeptToo) {
  Ids ids = tokenizer_->encode("It was the best of times, it was the worst of times", {.add_special_tokens = true});
  options_.ignore_eos = true;
  options_.sampling.max_tokens = 100;
  options_.stop = {"e"};  // soon
  const GenerationResult before = answer(ids);
  EXPECT_EQ(before.finish_reason, "stop");
  EXPECT_LT(before.token_ids.size(), 100U);
  const auto known = static_cast<std::int64_t>(ids.size());
  add(ids, before.text + " and");
  EXPECT_GE(answer(ids).cached_tokens, known / kBlock * kBlock);
  // Another beginning shares nothing.
  Ids other = ids;
  other[1] += 1;
  EXPECT_EQ(answer(other).cached_tokens, 0);
}

TEST_F(KeptText, SpeculationChangesNothing) {
  options_.ignore_eos = true;
  options_.spec_tokens = 4;
  options_.sampling.max_tokens = 40;
  Ids ids = tokenizer_->encode("One and two and three and one and two and three and one", {.add_special_tokens = true});
  const GenerationResult first = answer(ids);
  ids.insert(ids.end(), first.token_ids.begin(), first.token_ids.end());
  EXPECT_GT(answer(ids).cached_tokens, 0);
}

}  // namespace
}  // namespace awq::generate
