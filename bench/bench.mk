# SPDX-License-Identifier: MIT
# The kmm command. libkmm is linked statically, so that its calls, like the peers', are plain calls.
