# NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS: a Worker that is being terminated can throw nothing, and must not end the process
# Solaris and illumos: "sunos" in Node, "solaris" in gyp. __EXTENSIONS__: all of the system, not the part that a standard names.
# _REENTRANT: without it errno is the main thread's there.
# _GLIBCXX_ASSERTIONS: std::string, of which node-addon-api has one, is then instantiated here, so that no libstdc++ is needed
{
  "targets": [{
    "target_name": "privdrop",
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED", "_GLIBCXX_ASSERTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    "conditions": [["OS=='linux'", {
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "sources": [
        "addon.cc",
        "accounts.c",
        "child.c",
        "end.c",
        "initgroups.c",
        "questions.c",
        "walk.c",
        "linux/captext.c",
        "linux/children.c",
        "linux/commit.c",
        "linux/descriptors.c",
        "linux/exchange.c",
        "linux/park.c",
        "linux/proc.c",
        "linux/rehearse.c",
        "linux/signals.c",
        "linux/steps.c",
        "linux/surroundings.c"
      ],
      "cflags!": ["-O3"],
      "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden", "-fstack-protector-strong", "-Os", "-ffunction-sections", "-fdata-sections",
        "-fno-asynchronous-unwind-tables", "-fno-exceptions"],
      "cflags_c": ["-std=gnu11", "-Wshadow", "-Wstrict-prototypes"],
      "ldflags": [
        "-Wl,--version-script=<(module_root_dir)/src-native/exports.map",
        "-Wl,--as-needed", "-Wl,--gc-sections", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack",
        "-Wl,-z,noseparate-code"
      ],
      "libraries": ["-l:libcap.a"]
    }], ["OS=='solaris'", {
      "sources": [
        "accounts.c",
        "child.c",
        "end.c",
        "initgroups.c",
        "questions.c",
        "walk.c",
        "sunos/addon.c",
        "sunos/commit.c",
        "sunos/descriptors.c",
        "sunos/exchange.c",
        "sunos/observe.c",
        "sunos/privileges.c",
        "sunos/rehearse.c",
        "sunos/signals.c",
        "sunos/steps.c"
      ],
      "defines": ["__EXTENSIONS__", "_POSIX_PTHREAD_SEMANTICS", "_REENTRANT"],
      "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden", "-Os"],
      "cflags_c": ["-std=gnu11"],
      "libraries": ["-lsocket"]
    }]]
  }]
}
