// Stands in the page itself: from file: addresses no module is loaded, and it would stay silent.
if (location.protocol === "file:") {
  document.getElementById("status").textContent = "";
  const problem = document.getElementById("problem");
  problem.textContent =
    "This page must come from a server: run “python3 -m http.server” in its folder and open http://localhost:8000.";
  problem.hidden = false;
}
