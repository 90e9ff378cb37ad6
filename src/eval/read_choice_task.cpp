// Data files of the tasks. The prompts are those of lm-eval-harness 0.4, whose task files say what field goes where.

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>

#include "base/check.h"
#include "eval/choice_tasks.h"
#include "file/input_file.h"
#include "file/json.h"

namespace awq::eval {
namespace {

constexpr std::uint64_t kMaxTaskBytes = 1ULL << 30;

/// One line of a data file, with errors that name it.
class Record {
 public:
  Record(const file::Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) fail(ErrorCode::kCorruptFile, "{}: expected an object", where_);
  }
  bool has(const char* key) const { return json_.contains(key); }
  std::string text(const char* key) const {
    const file::Json& value = get(key);
    if (!value.is_string()) corrupt(key, "expected a string");
    return value.get<std::string>();
  }
  std::vector<std::string> texts(const char* key) const { return texts_of(get(key), key); }
  /// A list of strings inside an object: choices.text
  std::vector<std::string> texts(const char* key, const char* inner) const {
    const file::Json& value = get(key);
    if (!value.is_object() || !value.contains(inner))
      corrupt(key, fmt::format("expected an object with \"{}\"", inner));
    return texts_of(value.at(inner), key);
  }
  /// An index below `count`, written as a number or as a string of digits.
  std::size_t index(const char* key, std::size_t count) const {
    const file::Json& value = get(key);
    std::int64_t found = -1;
    if (value.is_number_integer()) found = value.get<std::int64_t>();
    if (value.is_string()) {
      const auto text = value.get<std::string>();
      if (text.size() == 1 && std::isdigit(static_cast<unsigned char>(text.front())) != 0) found = text.front() - '0';
    }
    if (found < 0 || static_cast<std::uint64_t>(found) >= count) {
      corrupt(key, fmt::format("found {}, expected 0 to {}", printable(value.dump(), 40), count - 1));
    }
    return static_cast<std::size_t>(found);
  }
  [[noreturn]] void corrupt(const char* key, const std::string& what) const {
    fail(ErrorCode::kCorruptFile, "{}: field \"{}\": {}", where_, key, what);
  }

 private:
  const file::Json& get(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) corrupt(key, "is missing");
    return *found;
  }
  std::vector<std::string> texts_of(const file::Json& value, const char* key) const {
    if (!value.is_array() || value.empty()) corrupt(key, "expected a list of strings");
    std::vector<std::string> out;
    for (const file::Json& element : value) {
      if (!element.is_string() || element.get<std::string>().empty()) corrupt(key, "expected a list of strings");
      out.push_back(element.get<std::string>());
    }
    return out;
  }

  const file::Json& json_;
  std::string where_;
};

bool is_blank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string stripped(std::string text) {
  while (!text.empty() && is_blank(text.back())) text.pop_back();
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_blank));
  return text;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

/// `query`, `choices` and `gold`, as other collections of the same questions have them.
ChoiceItem plain_item(const Record& r) {
  ChoiceItem item;
  item.context = r.text("query");
  item.choices = r.texts("choices");
  item.gold = r.index("gold", item.choices.size());
  return item;
}

std::string with_answer(std::string question) {
  while (!question.empty() && is_blank(question.back())) question.pop_back();
  return question + "\nAnswer:";
}

ChoiceItem read_lambada(const Record& r) {
  ChoiceItem item;
  if (r.has("text")) {
    const std::string text = r.text("text");
    const std::size_t blank = text.rfind(' ');
    if (blank == std::string::npos) r.corrupt("text", "expected more than one word");
    item.context = text.substr(0, blank);
    item.choices = {text.substr(blank + 1)};
  } else {
    item.context = r.text("context");
    item.choices = {stripped(r.text("continuation"))};
  }
  return item;
}

ChoiceItem read_piqa(const Record& r) {
  ChoiceItem item;
  if (r.has("goal")) {
    item.context = "Question: " + r.text("goal") + "\nAnswer:";
    item.choices = {r.text("sol1"), r.text("sol2")};
    item.gold = r.index("label", 2);
  } else {
    item = plain_item(r);
    item.context = with_answer(item.context);
  }
  return item;
}

ChoiceItem read_arc(const Record& r) {
  ChoiceItem item;
  if (r.has("question")) {
    item.context = "Question: " + r.text("question") + "\nAnswer:";
    item.choices = r.texts("choices", "text");
    const std::vector<std::string> labels = r.texts("choices", "label");
    const std::string key = r.text("answerKey");
    const auto found = std::find(labels.begin(), labels.end(), key);
    item.gold = static_cast<std::size_t>(found - labels.begin());
    if (found == labels.end() || item.gold >= item.choices.size()) {
      r.corrupt("answerKey", fmt::format("\"{}\" is none of the labels", printable(key, 20)));
    }
  } else {
    item = plain_item(r);
    item.context = with_answer(item.context);
  }
  return item;
}

/// What lm-eval takes out of the WikiHow part: headings and square brackets.
std::string clean_hellaswag(std::string text) {
  text = stripped(std::move(text));
  replace_all(text, " [title]", ". ");
  for (std::size_t open = text.find('['); open != std::string::npos; open = text.find('[', open)) {
    const std::size_t close = text.find_first_of("]\n", open);
    if (close == std::string::npos) break;
    if (text[close] == ']') {
      text.erase(open, close - open + 1);
    } else {
      ++open;
    }
  }
  replace_all(text, "  ", " ");
  return text;
}

/// First letter large, the others small; letters beyond ASCII stay as they are.
std::string capitalized(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    text[i] = static_cast<char>(i == 0 ? std::toupper(c) : std::tolower(c));
  }
  return text;
}

ChoiceItem read_hellaswag(const Record& r) {
  if (!r.has("endings")) return plain_item(r);
  ChoiceItem item;
  item.context =
      clean_hellaswag(r.text("activity_label") + ": " + r.text("ctx_a") + " " + capitalized(r.text("ctx_b")));
  for (std::string& ending : r.texts("endings")) item.choices.push_back(clean_hellaswag(std::move(ending)));
  item.gold = r.index("label", item.choices.size());
  return item;
}

ChoiceItem read_copa(const Record& r) {
  const auto continued = [](std::string text) {
    text.front() = static_cast<char>(std::tolower(static_cast<unsigned char>(text.front())));
    return text;
  };
  ChoiceItem item;
  if (r.has("premise")) {
    std::string premise = stripped(r.text("premise"));
    if (premise.size() < 2) r.corrupt("premise", "expected a sentence");
    premise.pop_back();  // its full stop
    const std::string question = r.text("question");
    if (question != "cause" && question != "effect") r.corrupt("question", "expected \"cause\" or \"effect\"");
    item.context = premise + (question == "cause" ? " because" : " therefore");
    for (const char* key : {"choice1", "choice2"}) {
      const std::string choice = r.text(key);
      if (choice.empty()) r.corrupt(key, "is empty");
      item.choices.push_back(continued(choice));
    }
    item.gold = r.index("label", 2);
  } else {
    item = plain_item(r);
    replace_all(item.context, ", because", " because");
    replace_all(item.context, ", therefore", " therefore");
    for (std::string& choice : item.choices) choice = continued(std::move(choice));
  }
  // lm-eval's choices begin with a blank of their own.
  item.delimiter = "  ";
  return item;
}

struct TaskRow {
  const char* name;
  const char* other_file;  ///< a second name that its file may have
  bool is_cloze;
  bool has_norm;
  ChoiceItem (*read)(const Record& record);
};

constexpr TaskRow kTasks[] = {
    {"lambada", "lambada_openai.jsonl", true, false, read_lambada},
    {"piqa", nullptr, false, true, read_piqa},
    {"arc_easy", nullptr, false, true, read_arc},
    {"hellaswag", "hellaswag_small.jsonl", false, true, read_hellaswag},
    {"copa", nullptr, false, false, read_copa},
};

std::filesystem::path file_of(const TaskRow& row, const std::filesystem::path& folder) {
  const std::filesystem::path own = folder / (std::string(row.name) + ".jsonl");
  if (file::is_regular_file(own)) return own;
  if (row.other_file != nullptr && file::is_regular_file(folder / row.other_file)) return folder / row.other_file;
  fail(ErrorCode::kNotFound, "{}: no such file; --task-dir names the folder that holds it", own.string());
}

}  // namespace

std::vector<std::string> choice_task_names() {
  std::vector<std::string> out;
  for (const TaskRow& row : kTasks) out.emplace_back(row.name);
  return out;
}

ChoiceTask read_choice_task(const std::string& name, const std::filesystem::path& folder, std::int64_t limit) {
  const auto* row =
      std::find_if(std::begin(kTasks), std::end(kTasks), [&](const TaskRow& r) { return name == r.name; });
  if (row == std::end(kTasks)) {
    std::string known;
    for (const TaskRow& r : kTasks) known += (known.empty() ? "" : ", ") + std::string(r.name);
    fail(ErrorCode::kInvalidArgument, "--tasks {}: expected some of {}", printable(name), known);
  }
  const std::filesystem::path path = file_of(*row, folder);
  const std::string text = file::read_text_file(path, kMaxTaskBytes);
  ChoiceTask task{.name = row->name, .is_cloze = row->is_cloze, .has_norm = row->has_norm, .items = {}};
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (std::all_of(line.begin(), line.end(), is_blank)) continue;
    const std::string where = fmt::format("{} line {}", path.string(), number);
    const file::Json json = file::parse_json(line, where);
    const Record record(json, where);
    ChoiceItem item = row->read(record);
    if (stripped(item.context).empty()) fail(ErrorCode::kCorruptFile, "{}: the question is empty", where);
    task.items.push_back(std::move(item));
    if (limit > 0 && static_cast<std::int64_t>(task.items.size()) == limit) break;
  }
  if (task.items.empty()) fail(ErrorCode::kCorruptFile, "{}: holds no questions", path.string());
  return task;
}

}  // namespace awq::eval
