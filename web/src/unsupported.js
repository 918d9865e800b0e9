// Runs only in browsers without modules: the plainest possible script.
var unsupported = document.getElementById("unsupported");
if (unsupported) unsupported.hidden = false;
document.documentElement.setAttribute("data-phase", "error");
