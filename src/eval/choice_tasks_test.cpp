#include "eval/choice_tasks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "awq/error.h"
#include "eval/compare.h"
#include "support/checkpoints.h"
#include "support/temp_folder.h"
#include "tolerances.h"

namespace awq::eval {
namespace {

ChoiceTask read(const std::string& name, const std::string& lines, std::int64_t limit = 0) {
  const test::TempFolder folder;
  test::write_bytes(folder / (name + ".jsonl"), lines);
  return read_choice_task(name, folder.path(), limit);
}

std::string error_of(const std::string& name, const std::string& lines) {
  try {
    read(name, lines);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorruptFile) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error for " << lines;
  return "";
}

TEST(ReadChoiceTask, BothShapesGiveLmEvalsPrompts) {
  struct Case {
    const char* name;
    const char* own;  ///< lm-eval's fields
    const char* other;
    const char* context;
    const char* second;  ///< choice
    std::size_t gold;
  };
  const Case cases[] = {
      {"piqa", R"({"goal":"dresser","sol1":"a","sol2":"bobby pin","label":1})",
       R"({"query":"Question: dresser\n","choices":["a","bobby pin"],"gold":1})",
       "Question: dresser\nAnswer:", "bobby pin", 1},
      {"arc_easy", R"({"question":"Why?","choices":{"text":["a","b"],"label":["A","B"]},"answerKey":"B"})",
       R"({"query":"Question: Why?","choices":["a","b"],"gold":1})", "Question: Why?\nAnswer:", "b", 1},
      {"copa", R"({"premise":"I slept.","question":"cause","choice1":"It rained.","choice2":"I was tired.","label":1})",
       R"({"query":"I slept, because","choices":["it rained.","i was tired."],"gold":1})", "I slept because",
       "i was tired.", 1},
      {"hellaswag",
       R"({"activity_label":"Ice","ctx_a":"A man [step] writes.","ctx_b":"then HE","endings":["x"," walks [title] home"],"label":"1"})",
       R"({"query":"Ice: A man writes. Then he","choices":["x","walks. home"],"gold":1})", "Ice: A man writes. Then he",
       "walks. home", 1},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    for (const char* line : {c.own, c.other}) {
      const ChoiceTask task = read(c.name, line);
      ASSERT_EQ(task.items.size(), 1U);
      EXPECT_EQ(task.items[0].context, c.context);
      EXPECT_EQ(task.items[0].choices.at(1), c.second);
      EXPECT_EQ(task.items[0].gold, c.gold);
    }
  }
  const ChoiceTask own = read("lambada", R"({"text":"one two\n\nthree four"})");
  EXPECT_EQ(own.items[0].context, "one two\n\nthree");
  EXPECT_EQ(own.items[0].choices[0], "four");
  EXPECT_EQ(read("lambada", R"({"context":"one two\n\nthree","continuation":"four"})").items[0].context,
            own.items[0].context);
  EXPECT_EQ(read("copa", R"({"query":"I slept, because","choices":["a","b"],"gold":0})").items[0].delimiter, "  ");
}

TEST(ReadChoiceTask, LimitAndBlankLines) {
  const std::string line = R"({"query":"q","choices":["a","b"],"gold":0})";
  EXPECT_EQ(read("piqa", line + "\n\n" + line + "\r\n" + line).items.size(), 3U);
  EXPECT_EQ(read("piqa", line + "\n" + line + "\nnot read", 2).items.size(), 2U);
}

TEST(ReadChoiceTask, HostileFilesNameLineAndField) {
  EXPECT_NE(error_of("piqa", "\n{\"query\":1}").find("piqa.jsonl line 2: field \"query\""), std::string::npos);
  EXPECT_NE(error_of("piqa", R"({"query":"q","choices":[],"gold":0})").find("\"choices\""), std::string::npos);
  EXPECT_NE(error_of("piqa", R"({"query":"q","choices":["a",2],"gold":0})").find("\"choices\""), std::string::npos);
  EXPECT_NE(error_of("piqa", R"({"query":"q","choices":["a"],"gold":1})").find("\"gold\": found 1, expected 0 to 0"),
            std::string::npos);
  EXPECT_NE(error_of("piqa", R"({"query":"q","choices":["a"],"gold":-1})").find("\"gold\""), std::string::npos);
  EXPECT_NE(error_of("hellaswag", R"({"query":" ","choices":["a"],"gold":0})").find("the question is empty"),
            std::string::npos);
  EXPECT_NE(error_of("arc_easy", R"({"question":"q","choices":{"text":["a"],"label":["A"]},"answerKey":"C"})")
                .find("answerKey"),
            std::string::npos);
  EXPECT_NE(
      error_of("copa", R"({"premise":"I.","question":"why","choice1":"a","choice2":"b","label":0})").find("question"),
      std::string::npos);
  EXPECT_NE(error_of("lambada", R"({"text":"word"})").find("text"), std::string::npos);
  EXPECT_NE(error_of("lambada", "[]").find("expected an object"), std::string::npos);
  EXPECT_NE(error_of("lambada", "\n \n").find("no questions"), std::string::npos);
  const test::TempFolder folder;
  EXPECT_THROW(read_choice_task("lambada", folder.path(), 0), Error);
  EXPECT_THROW(read_choice_task("mmlu", folder.path(), 0), Error);
}

class ChoiceScores : public testing::Test {
 protected:
  model::ModelFiles files_ = model::ModelFiles::open(test::golden_models().front());
  std::unique_ptr<text::Tokenizer> tokenizer_ = text::Tokenizer::from_json(test::tiny_tokenizer_json(), "t");
};

TEST_F(ChoiceScores, LikelihoodIsWhatPerplexityCounts) {
  ChoiceTask task{.name = "t"};
  task.items.push_back({.context = "the cat ", .choices = {"sat", "ran off"}, .delimiter = " ", .gold = 1});
  TaskOptions options;
  options.hidden_bytes = 1;  // every request a turn of its own
  const TaskScore score = run_choice_task(task, files_, *tokenizer_, options);
  // The blank at the end of the context belongs to the continuation.
  const auto nll = [&](const std::string& text) {
    const Windows windows = {tokenizer_->encode(text, {.add_special_tokens = true})};
    return compare(files_, nullptr, windows, {}).nll * static_cast<double>(windows[0].size() - 1);
  };
  for (std::size_t c = 0; c < 2; ++c) {
    const double expected = nll("the cat") - nll("the cat  " + task.items[0].choices[c]);
    EXPECT_NEAR(score.likelihoods[0][c].log_probability, expected, tolerance::kLogProbability * (1 - expected));
  }
  const auto& found = score.likelihoods[0];
  EXPECT_EQ(score.accuracy, found[1].log_probability > found[0].log_probability ? 1 : 0);
  EXPECT_EQ(score.accuracy_norm, found[1].log_probability / 7 > found[0].log_probability / 3 ? 1 : 0);
  EXPECT_EQ(score.accuracy_stderr, 0);
  // All in one turn gives the same.
  const TaskScore together = run_choice_task(task, files_, *tokenizer_, {});
  EXPECT_NEAR(together.likelihoods[0][0].log_probability, found[0].log_probability, tolerance::kBatchLogits * 10);
}

TEST_F(ChoiceScores, LongContextsLoseTheirBeginning) {
  ChoiceTask task{.name = "t", .is_cloze = true, .has_norm = false};
  task.items.push_back({.context = std::string(300, 'a') + "bcd", .choices = {"e"}, .delimiter = " ", .gold = 0});
  task.items.push_back({.context = std::string(150, 'a') + "bcd", .choices = {"e"}, .delimiter = " ", .gold = 0});
  const TaskScore score = run_choice_task(task, files_, *tokenizer_, {.context = 16});
  EXPECT_NEAR(score.likelihoods[0][0].log_probability, score.likelihoods[1][0].log_probability,
              tolerance::kBatchLogits);
  EXPECT_NEAR(score.perplexity, std::exp(-score.likelihoods[0][0].log_probability), 1e-3 * score.perplexity);
}

TEST_F(ChoiceScores, StandardErrorIsThatOfTheSample) {
  ChoiceTask task{.name = "t"};
  for (std::size_t i = 0; i < 4; ++i) {
    // The same question with both answers in turn: one right, one wrong.
    task.items.push_back({.context = "one", .choices = {"two", "six"}, .delimiter = " ", .gold = i % 2});
  }
  const TaskScore score = run_choice_task(task, files_, *tokenizer_, {});
  EXPECT_EQ(score.accuracy, 0.5);
  EXPECT_NEAR(score.accuracy_stderr, std::sqrt(0.25 / 3), tolerance::kDoubleSum);
}

}  // namespace
}  // namespace awq::eval
