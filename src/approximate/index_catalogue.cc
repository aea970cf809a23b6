// index.json.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "approximate/index_format.h"
#include "base/checked.h"
#include "base/hash.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kMostBytes = 64u << 20;
constexpr std::string_view kEnding = ".idx";

std::string_view name_of(KeyCoding coding) {
  return coding == KeyCoding::scalar ? "ivf" : "ivfpq";
}

Error bad(const fs::path& file, std::string_view what) {
  return {Code::corrupt, fmt::format("{}: {}; build the index again with `msa memory index`",
                                     file.string(), what)};
}

// Reads fields of an object, and remembers the first that is not as it should be.
class Fields {
 public:
  Fields(const Json& object, std::string& problem) : object_(object), problem_(problem) {
    if (!object.is_object()) fail("is no object");
  }
  uint64_t whole(const char* name, uint64_t least, uint64_t most) {
    const Json* value = find(name);
    if (value == nullptr) return least;
    if (!value->is_number_unsigned() || value->get<uint64_t>() < least ||
        value->get<uint64_t>() > most) {
      fail(fmt::format("\"{}\" is not a whole number from {} to {}", name, least, most));
      return least;
    }
    return value->get<uint64_t>();
  }
  double share(const char* name) {
    const Json* value = find(name);
    if (value == nullptr) return 0;
    const double number = value->is_number() ? value->get<double>() : -1;
    if (!(number >= 0 && number <= 1)) {
      fail(fmt::format("\"{}\" is not from 0 to 1", name));
      return 0;
    }
    return number;
  }
  std::string text(const char* name) {
    const Json* value = find(name);
    if (value == nullptr) return {};
    if (!value->is_string()) {
      fail(fmt::format("\"{}\" is not a text", name));
      return {};
    }
    return value->get<std::string>();
  }
  // Sixteen hexadecimal digits.
  uint64_t hash(const char* name) {
    const std::string digits = text(name);
    uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (error != std::errc() || end != digits.data() + digits.size() || to_hex(value) != digits)
      fail(fmt::format("\"{}\" is no checksum", name));
    return value;
  }
  const Json& list(const char* name) {
    static const Json none = Json::array();
    const Json* value = find(name);
    if (value == nullptr) return none;
    if (!value->is_array()) {
      fail(fmt::format("\"{}\" is no list", name));
      return none;
    }
    return *value;
  }

 private:
  const Json* find(const char* name) {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(name);
    if (found != object_.end()) return &*found;
    fail(fmt::format("\"{}\" is missing", name));
    return nullptr;
  }
  void fail(std::string what) {
    if (problem_.empty()) problem_ = std::move(what);
  }

  const Json& object_;
  std::string& problem_;
};

}  // namespace

uint64_t IndexCatalogue::chunks() const {
  uint64_t all = 0;
  for (const IndexedSegment& segment : segments) all += segment.chunks;
  return all;
}

std::string to_text(const IndexCatalogue& catalogue) {
  Json segments = Json::array(), layers = Json::array();
  for (const IndexedSegment& s : catalogue.segments)
    segments.push_back({{"id", static_cast<uint64_t>(s.id)},
                        {"chunks", s.chunks},
                        {"header_hash", to_hex(s.header_hash)}});
  for (const IndexedFile& f : catalogue.layers)
    layers.push_back({{"layer", static_cast<uint64_t>(f.layer)},
                      {"file", f.file},
                      {"bytes", f.bytes},
                      {"checksum", to_hex(f.checksum)},
                      {"probes", f.probes},
                      {"candidates", f.candidates},
                      {"recall", f.recall}});
  const Json json = {{"version", kIndexVersion},        {"type", name_of(catalogue.coding)},
                     {"width", catalogue.width},        {"lists", catalogue.lists},
                     {"rows", catalogue.rows},          {"documents", catalogue.documents},
                     {"segments", std::move(segments)}, {"layers", std::move(layers)}};
  const std::string line = json.dump();
  return fmt::format("{}\n{}\n", line, to_hex(hash64(line)));
}

Result<IndexCatalogue> parse_index_catalogue(std::string_view text, const fs::path& file) {
  const size_t end = text.find('\n');
  if (end == std::string_view::npos ||
      text.substr(end + 1) != to_hex(hash64(text.substr(0, end))) + "\n")
    return bad(file, "does not have its checksum");
  const Json json = Json::parse(text.substr(0, end), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return bad(file, "is not valid JSON");

  constexpr uint64_t kMost32 = std::numeric_limits<uint32_t>::max();
  constexpr uint64_t kMostInt = std::numeric_limits<int>::max();
  std::string problem;
  Fields fields(json, problem);
  const uint64_t version = fields.whole("version", 1, kMostInt);
  if (problem.empty() && version > kIndexVersion)
    return Error{Code::unsupported,
                 fmt::format("{}: is of version {}, this program reads {}; use a newer program, or "
                             "build the index again with `msa memory index`",
                             file.string(), version, kIndexVersion)};
  IndexCatalogue catalogue;
  const std::string type = fields.text("type");
  if (type != "ivf" && type != "ivfpq" && problem.empty()) problem = "\"type\" is unknown";
  catalogue.coding = type == "ivf" ? KeyCoding::scalar : KeyCoding::product;
  catalogue.width = fields.whole("width", 1, 1u << 24);
  catalogue.lists = fields.whole("lists", 1, 1u << 24);
  catalogue.rows = fields.whole("rows", 1, kMost32);
  catalogue.documents = fields.whole("documents", 1, kMost32);
  for (const Json& entry : fields.list("segments")) {
    Fields of(entry, problem);
    IndexedSegment segment;
    segment.id = static_cast<int64_t>(of.whole("id", 1, std::numeric_limits<int64_t>::max()));
    segment.chunks = static_cast<uint32_t>(of.whole("chunks", 1, kMost32));
    segment.header_hash = of.hash("header_hash");
    catalogue.segments.push_back(segment);
  }
  int last_layer = -1;
  for (const Json& entry : fields.list("layers")) {
    Fields of(entry, problem);
    IndexedFile layer;
    layer.layer = static_cast<int>(of.whole("layer", 0, kMostInt));
    layer.file = of.text("file");
    layer.bytes = of.whole("bytes", sizeof(IndexFileHeader), std::numeric_limits<int64_t>::max());
    layer.checksum = of.hash("checksum");
    layer.probes = of.whole("probes", 1, catalogue.lists);
    layer.candidates = of.whole("candidates", 1, 1u << 20);
    layer.recall = of.share("recall");
    if (problem.empty() && !build_of_index_file(layer.file))
      problem = "a layer's \"file\" is not the name of an index file";
    if (problem.empty() && layer.layer <= last_layer) problem = "the layers are not ascending";
    last_layer = layer.layer;
    catalogue.layers.push_back(std::move(layer));
  }
  if (!problem.empty()) return bad(file, problem);
  const uint64_t chunks = catalogue.chunks();  // fewer than 2^32 segments of less than 2^32 each
  if (chunks > kMost32 || catalogue.rows > chunks || catalogue.documents > catalogue.rows)
    return bad(file, fmt::format("{} documents, {} rows and {} chunks do not fit each other",
                                 catalogue.documents, catalogue.rows, chunks));
  return catalogue;
}

Result<IndexCatalogue> read_index_catalogue(const fs::path& index_folder) {
  const fs::path file = index_folder / kIndexCatalogue;
  MSA_ASSIGN(const std::string text, read_file(file, kMostBytes));
  return parse_index_catalogue(text, file);
}

std::string index_file_name(uint64_t build, int layer) {
  return fmt::format("{:08}-{}{}", build, layer, kEnding);
}

std::optional<uint64_t> build_of_index_file(std::string_view name) {
  uint64_t build = 0;
  int layer = 0;
  const char* end = name.data() + name.size();
  const auto [dash, bad_build] = std::from_chars(name.data(), end, build);
  if (bad_build != std::errc() || dash == end) return std::nullopt;
  const auto [rest, bad_layer] = std::from_chars(dash + 1, end, layer);
  // Making the name again refuses signs, other zeros and other endings.
  if (bad_layer != std::errc() || layer < 0 || index_file_name(build, layer) != name)
    return std::nullopt;
  return build;
}

}  // namespace msa
