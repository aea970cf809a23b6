#include "approximate/list_index.h"

namespace msa {

size_t ListShape::values_per_byte() const {
  if (coding == KeyCoding::scalar) return 1;
  for (const size_t values : {8, 4, 2})
    if (width % values == 0) return values;
  return 1;
}

size_t ListShape::quantiser_floats() const {
  return coding == KeyCoding::scalar ? 2 * width : kPrototypes * width;
}

}  // namespace msa
