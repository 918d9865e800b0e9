// Runs only in browsers without modules: the plainest possible script.
document.getElementById("unsupported").hidden = false;
document.documentElement.setAttribute("data-phase", "error");
