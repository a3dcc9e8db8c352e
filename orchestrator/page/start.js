// Loads the page's scripts once its first frame is painted: loading them at once makes that frame come later.

requestAnimationFrame(() => setTimeout(() => import("./main.js")));
