#include "corpus/record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "text/utf8.h"

namespace msa {
namespace {

using Json = nlohmann::json;

// Takes the fields of the outermost object from the parser's events. Nothing else is built, so that
// depth costs neither memory nor stack.
class RecordEvents : public nlohmann::json_sax<Json> {
 public:
  Document document;
  std::string problem;
  bool has_text = false;

  bool null() override { return outermost() ? not_an_object() : true; }
  bool boolean(bool) override { return other("a boolean"); }
  bool number_integer(number_integer_t value) override { return integer(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return integer(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& written) override {
    // Integers of more than 64 bits arrive here, too.
    if (written.find_first_not_of("-0123456789") == std::string::npos) return integer(written);
    return other("a number that is no integer");
  }
  bool binary(binary_t&) override { return other("binary data"); }
  bool string(string_t& value) override {
    if (depth_ != 1) return outermost() ? not_an_object() : true;
    if (key_ == "text") has_text = true;
    if (std::string* field = field_of_key()) *field = std::move(value);
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ > 0 && !other("an object")) return false;
    ++depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (!other("an array")) return false;
    ++depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1) key_ = std::move(name);
    return true;
  }
  bool end_object() override { return --depth_, true; }
  bool end_array() override { return --depth_, true; }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem = fmt::format("not valid JSON at byte {} of the record", position);
    return false;
  }

 private:
  bool outermost() const { return depth_ == 0; }
  bool not_an_object() { return problem = "not a JSON object", false; }
  std::string* field_of_key() {
    if (key_ == "text") return &document.text;
    if (key_ == "title") return &document.title;
    if (key_ == "id") return &document.id;
    return key_ == "source" ? &document.source : nullptr;
  }
  bool integer(std::string digits) {
    if (depth_ == 1 && key_ == "id") return document.id = std::move(digits), true;
    return other("a number");
  }
  // A value that no field can have.
  bool other(const char* what) {
    if (outermost()) return not_an_object();
    if (depth_ > 1 || field_of_key() == nullptr) return true;
    problem = fmt::format("\"{}\" is {}, not a string{}", key_, what,
                          key_ == "id" ? " or an integer" : "");
    return false;
  }

  size_t depth_ = 0;
  std::string key_;
};

}  // namespace

std::variant<Document, RecordProblem> parse_record(std::string_view json, uint64_t& replaced_utf8) {
  const CleanText clean = clean_utf8(json);
  replaced_utf8 += clean.replaced;
  RecordEvents events;
  if (!Json::sax_parse(clean.text, &events)) return RecordProblem{std::move(events.problem)};
  if (!events.has_text) return RecordProblem{"no \"text\" field with a string"};
  events.document.char_end = count_characters(events.document.text);
  return std::move(events.document);
}

}  // namespace msa
