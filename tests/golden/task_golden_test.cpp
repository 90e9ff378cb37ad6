// Questions answered as lm-eval-harness answers them (make_task_goldens.py), on data that is not ours to commit.

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "eval/choice_tasks.h"
#include "file/json.h"
#include "support/paths.h"
#include "support/shared_data.h"
#include "tolerances.h"

namespace awq::eval {
namespace {

TEST(SharedGolden, TasksAnsweredAsByLmEval) {
  const std::filesystem::path data = std::filesystem::path(AWQ_SHARED_DATA) / "text" / "eval";
  if (!std::filesystem::exists(data)) GTEST_SKIP() << data << " is absent";
  const std::filesystem::path source = AWQ_SOURCE_DIR;
  const file::Json golden = file::read_json_file(source / "tests/golden/tasks/books-12m.json");
  const model::ModelFiles model = model::ModelFiles::open(source / "models/books-12m");
  const auto tokenizer = text::Tokenizer::load(source / "models/books-12m");
  for (const auto& [name, expected] : golden.at("tasks").items()) {
    SCOPED_TRACE(name);
    const auto count = expected.at("items").get<std::int64_t>();
    const ChoiceTask task = read_choice_task(name, data, count);
    ASSERT_EQ(static_cast<std::int64_t>(task.items.size()), count);
    const TaskScore score = run_choice_task(task, model, *tokenizer, {});
    EXPECT_EQ(score.accuracy, expected.at("acc").get<double>());
    if (expected.contains("acc_norm") && score.has_norm) {
      EXPECT_EQ(score.accuracy_norm, expected.at("acc_norm").get<double>());
    }
    for (std::size_t i = 0; i < task.items.size(); ++i) {
      for (std::size_t c = 0; c < task.items[i].choices.size(); ++c) {
        const double reference = expected.at("log_probabilities").at(i).at(c);
        EXPECT_NEAR(score.likelihoods[i][c].log_probability, reference,
                    tolerance::kLogProbability * (1 + std::fabs(reference)))
            << "question " << i << ", choice " << c;
      }
    }
  }
}

}  // namespace
}  // namespace awq::eval
