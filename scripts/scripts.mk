# SPDX-License-Identifier: MIT
# Set-up, plots, reports and the targets of the user's make.
