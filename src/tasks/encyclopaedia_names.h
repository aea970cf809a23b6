// Names of invented people, places and things.
#pragma once

#include "base/random.h"
#include "tasks/encyclopaedia_world.h"

namespace msa::encyclopaedia {

// Sets the name of an entity whose kind, type, sex and years are set. The name has a root of its
// own, or that of `like`, an entity of the same kind and type with which it shares a part of its
// name; then it may happen that it is the same name.
void give_name(Entity& entity, const Entity* like, Namer& namer, Split split, Random& draw);

}  // namespace msa::encyclopaedia
