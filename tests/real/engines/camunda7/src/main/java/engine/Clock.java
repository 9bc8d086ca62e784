package engine;

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Date;
import org.camunda.bpm.engine.impl.util.ClockUtil;

/** PUT sets the engine's clock to the instant in the body, where it then stands; DELETE lets it go again. */
class Clock extends HttpServlet {

  @Override
  protected void doPut(HttpServletRequest request, HttpServletResponse response) throws IOException {
    var text = new String(request.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    ClockUtil.setCurrentTime(Date.from(Instant.parse(text)));
    response.setStatus(HttpServletResponse.SC_NO_CONTENT);
  }

  @Override
  protected void doDelete(HttpServletRequest request, HttpServletResponse response) {
    ClockUtil.reset();
    response.setStatus(HttpServletResponse.SC_NO_CONTENT);
  }
}
