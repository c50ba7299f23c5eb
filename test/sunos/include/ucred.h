#include <priv.h>
