// The same program without the faults: no rule may find anything here.
import java.io.File;
import java.io.ObjectInputFilter;
import java.io.ObjectInputStream;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.PreparedStatement;
import javax.crypto.Cipher;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import javax.xml.parsers.DocumentBuilderFactory;
import org.apache.commons.io.FilenameUtils;
import org.owasp.encoder.Encode;

class Fixed {
  void find(Connection connection, String name) throws Exception {
    PreparedStatement statement = connection.prepareStatement("select * from payment where name = ?");
    statement.setString(1, name);
    statement.executeQuery();
  }

  void archive(String name) throws Exception {
    new ProcessBuilder("gzip", "--", name).start();
  }

  void page(HttpServletRequest request, HttpServletResponse response) throws Exception {
    File file = new File("statements/" + FilenameUtils.getName(request.getParameter("name")));
    response.getWriter().println("<h1>" + Encode.forHtml(request.getParameter("name")) + "</h1>");
    response.sendRedirect(localPath(request.getParameter("to")));
  }

  Object load(ObjectInputStream in) throws Exception {
    in.setObjectInputFilter(ObjectInputFilter.Config.createFilter("payments.*;!*"));
    return in.readObject();
  }

  void parse() throws Exception {
    DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
    factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
    factory.newDocumentBuilder();
  }

  void secrets() throws Exception {
    MessageDigest.getInstance("SHA-256");
    Cipher.getInstance("AES/GCM/NoPadding");
  }
}
